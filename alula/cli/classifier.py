"""An image classifier in a model file, and what it says of pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alula.core.errors import UsageError
from alula.core.preprocess import Preprocess
from alula.vision.folder import Picture
from alula.vision.metrics import ranked
from alula.vision.stream import Batch, stream

if TYPE_CHECKING:
    from alula.runtime.session import Session

TOP = 5
PROBABILITY_SLACK = 1e-3


@dataclass(frozen=True, slots=True)
class Classifier:
    """A session that takes pictures by `contract` and gives one score a class."""

    session: Session
    contract: Preprocess
    classes: int

    def scores(self, inputs: NDArray[Any]) -> NDArray[np.float32]:
        """inputs[n, ...] -> scores[n, classes].  A file of fixed batch gets its missing rows as copies of the last."""
        least = self.session.batch_range[0]
        missing = max(0, least - len(inputs))
        padded = np.concatenate([inputs, np.repeat(inputs[-1:], missing, axis=0)]) if missing else inputs
        output = self.session.run(padded)[0]
        return np.asarray(output[: len(inputs)], np.float32).reshape(len(inputs), self.classes)


@contextmanager
def open_classifier(path: Path, threads: int | None) -> Iterator[Classifier]:
    """The classifier in a model file.  Raises UsageError for a model that does not take pictures or gives no scores."""
    import alula

    session = alula.load(path, threads=threads)
    try:
        yield _classifier(path, session)
    finally:
        session.close()


def _classifier(path: Path, session: Session) -> Classifier:
    if session.preprocess is None:
        raise UsageError(
            f"model {path}: expected one that says how pictures become inputs (build --preprocess), got none"
        )
    if len(session.inputs) != 1 or len(session.outputs) != 1:
        counts = f"{len(session.inputs)} and {len(session.outputs)}"
        raise UsageError(f"model {path}: expected a classifier of one input and one output, got {counts}")
    rest = session.outputs[0].shape[1:]
    sizes = [size for size in rest if size is not None]
    if not rest or len(sizes) < len(rest) or int(np.prod(sizes)) != max(sizes):
        raise UsageError(f"model {path}: expected scores [batch, classes], got {session.outputs[0].shape}")
    return Classifier(session, session.preprocess, max(sizes))


@dataclass(slots=True)
class Predictions:
    """What a classifier said of the pictures `listed`, by index: the best classes and their scores, or why not."""

    listed: Sequence[Picture]
    classes: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    scores: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    probabilities: dict[int, NDArray[np.float32]] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    elapsed_s: float = 0.0
    compute_s: float = 0.0

    @property
    def pictures_per_second(self) -> float:
        """Decoding included; 0 where nothing was predicted."""
        return len(self.classes) / self.elapsed_s if self.classes else 0.0

    def add(self, indices: NDArray[np.int64], scores: NDArray[np.float32]) -> None:
        """Takes scores[n, classes] of the pictures `indices`[n]; a row that holds nan is a failure."""
        best = ranked(scores, TOP)
        likely = probabilities(scores)
        for row, index in enumerate(indices.tolist()):
            if np.isnan(scores[row]).any():
                self.failures[index] = f"picture {self.listed[index].name}: expected finite scores, got nan"
                continue
            self.classes[index] = best[row]
            self.scores[index] = scores[row, best[row]]
            self.probabilities[index] = likely[row, best[row]]

    def labelled(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """best[n, k] and labels[n] of the predicted pictures whose class is known, in the list's order."""
        known = [index for index in sorted(self.classes) if self.listed[index].label is not None]
        if not known:
            return np.empty((0, TOP), np.int64), np.empty(0, np.int64)
        best = np.stack([self.classes[index] for index in known])
        return best, np.array([self.listed[index].label for index in known], np.int64)


Watch = Callable[[Predictions, Batch, NDArray[np.float32]], None]  # takes each batch with its scores


def predict(
    classifier: Classifier,
    pictures: Sequence[Picture],
    batch_size: int,
    advance: Callable[[int], None],
    watch: Watch | None = None,
) -> Predictions:
    """Every picture's prediction or failure; `advance(count)` is called as they come, and `watch` with each batch."""
    predictions = Predictions(pictures)
    began = perf_counter()
    for batch in stream(pictures, classifier.contract, batch_size):
        predictions.failures.update({failure.index: failure.reason for failure in batch.failures})
        if len(batch.indices):
            entered = perf_counter()
            scores = classifier.scores(batch.inputs)
            predictions.compute_s += perf_counter() - entered
            predictions.add(batch.indices, scores)
            if watch is not None:
                watch(predictions, batch, scores)
        advance(len(batch.indices) + len(batch.failures))
    predictions.elapsed_s = perf_counter() - began
    return predictions


def probabilities(scores: NDArray[np.float32]) -> NDArray[np.float32]:
    """scores[n, classes] -> their softmax, or themselves where the model already gives probabilities."""
    if len(scores) and scores.min() >= 0 and np.allclose(scores.sum(axis=1), 1.0, atol=PROBABILITY_SLACK):
        return scores
    powers = np.exp(scores - scores.max(axis=1, keepdims=True, initial=-np.inf))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), np.float32)
