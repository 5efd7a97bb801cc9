"""`alula eval M.alula --against R.alula`: a second model on the same pictures, and what is different."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alula.cli.classifier import Classifier, Predictions, Watch
from alula.core.errors import UsageError
from alula.vision.names import ClassName
from alula.vision.paired import MLPERF_SHARES, Flip, Paired
from alula.vision.stream import Batch

SHOWN = 10  # flips that are printed; the JSON holds all


@dataclass(slots=True)
class Pairing:
    """The reference's answers to every batch that a classifier answers; a picture that either fails on counts for none.

    What the reference fails on is a failure of the predictions, like what the model itself fails on.
    """

    reference: Classifier
    name: str
    paired: Paired = field(default_factory=Paired)

    def beside(self, classifier: Classifier, batch_size: int) -> Watch:
        """Raises UsageError for a classifier with other classes or another preprocessing, or too large a batch."""
        ours, theirs = self.reference, classifier
        least, most = ours.session.batch_range
        if ours.classes != theirs.classes:
            raise UsageError(f"model {self.name}: expected {theirs.classes} classes to compare, got {ours.classes}")
        if ours.contract != theirs.contract:
            raise UsageError(f"model {self.name}: expected the same preprocessing to compare, got another")
        if not least <= batch_size <= most:
            raise UsageError(f"model {self.name}: expected to take batches of {batch_size}, got {least} to {most}")
        return self._watch

    def _watch(self, predictions: Predictions, batch: Batch, scores: NDArray[np.float32]) -> None:
        expected = self.reference.scores(batch.inputs)
        finite = np.isfinite(expected).all(axis=1)
        for index in batch.indices[~finite].tolist():
            name = predictions.listed[index].name
            predictions.failures[index] = f"picture {name}: expected finite scores of {self.name}, got others"
            predictions.classes.pop(index, None)
        good = finite & np.isfinite(scores).all(axis=1)
        indices = batch.indices[good].tolist()
        labels = [predictions.listed[index].label for index in indices]
        self.paired.take(indices, expected[good], scores[good], labels)

    def figures(self, predictions: Predictions) -> dict[str, Any]:
        """JSON-ready: the pair's figures, and every picture whose class is another."""
        flips = [self._flip(flip, predictions) for flip in self.paired.flips]
        return {"model": self.name, "precision": self.reference.session.precision, **self.paired.to_json()} | {
            "flips": flips
        }

    def _flip(self, flip: Flip, predictions: Predictions) -> dict[str, Any]:
        name, likely = predictions.listed[flip.index].name, {"before": flip.before, "after": flip.after}
        return {"name": name, "label": flip.label, **likely, "kind": flip.kind}


def print_pairing(figures: Mapping[str, Any], paired: Paired, names: tuple[ClassName, ...]) -> None:
    """What is different, whether it means anything, and the first flips by name."""
    snr = "equal scores" if paired.snr_db == inf else f"scores' signal to noise {paired.snr_db:.1f} dB"
    print(f"against   {figures['model']}, {figures['precision']}")
    print(f"agreement {paired.agreement}, {snr}")
    if figures["labelled"]:
        _print_labelled(paired)
    flips = figures["flips"]
    for flip in flips[:SHOWN]:
        print(f"  {flip['kind']:<11} {flip['name']}: {_class(flip['before'], names)} -> {_class(flip['after'], names)}")
    if len(flips) > SHOWN:
        print(f"  and {len(flips) - SHOWN} more: --json FILE holds all")


def _print_labelled(paired: Paired) -> None:
    reference, _ = paired.accuracies
    low, high = paired.difference_interval()
    changed = len(paired.flips) - paired.lost - paired.won
    print(f"top-1     {reference} of the reference")
    print(f"flips     {paired.lost} lost, {paired.won} won, {changed} others")
    print(
        f"change    {100 * paired.difference:+.2f} points (95 % interval {100 * low:+.2f} to {100 * high:+.2f}), "
        f"McNemar's exact p = {paired.p_value():.3g}"
    )
    kept = paired.difference / reference.share + 1 if reference.correct else 1.0
    verdicts = []
    for share in MLPERF_SHARES:
        met, certain = paired.keeps(share)
        doubt = "" if certain else " (too few pictures to be certain)"
        verdicts.append(f"{share:.1%} {'met' if met else 'missed'}{doubt}")
    print(f"MLPerf    {kept:.2%} of the reference's top-1: {', '.join(verdicts)}")


def _class(number: int, names: tuple[ClassName, ...]) -> str:
    return names[number].text if names else f"class {number}"
