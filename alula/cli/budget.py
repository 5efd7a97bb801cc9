"""`alula build --max-drop`: bytes wherever they are faster, float where they would cost more accuracy than allowed."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from math import sqrt
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import numpy as np

from alula.analysis.budget import Search, ranked, reasons, slower
from alula.analysis.mixes import Mixes, mix_times
from alula.analysis.sensitivity import Sensitivity, sensitivities
from alula.cli.classifier import Classifier, open_classifier
from alula.cli.evaluation import report_failures
from alula.cli.inputs import random_inputs
from alula.cli.progress import progress, stage
from alula.core.dtype import Array
from alula.core.errors import UsageError
from alula.vision.folder import Picture, list_pictures
from alula.vision.margins import expected_drop
from alula.vision.paired import Paired
from alula.vision.stream import stream

if TYPE_CHECKING:
    from alula.compiler import BuildConfig
    from alula.ir.graph import Graph
    from alula.quant.calibration import Calibration
    from alula.runtime.session import Session

MOST_SEARCHED = 512  # pictures that are kept in memory, to try mixes on
HALF = 2
LEAST_PICTURES = 30
RANKED, RANKED_AT_A_TIME = 8, 2  # pictures that errors of products are measured on
PICTURES_AT_A_TIME = 8
RANKING_SHARE = 0.3  # of the time
UNUSABLE = 100.0  # points of a mix that gives what is not finite


def evaluation_pictures(arguments: argparse.Namespace) -> tuple[Picture, ...]:
    """Those of --eval-dir: all, or --eval-num of them spread over the folder.  Raises UsageError for too few."""
    if arguments.eval_dir is None:
        raise UsageError("--max-drop: expected --eval-dir, pictures to measure the drop on, got none")
    listed = list_pictures(arguments.eval_dir, arguments.label_file)
    count = min(arguments.eval_num or len(listed), len(listed))
    if count < LEAST_PICTURES:
        raise UsageError(f"image folder {arguments.eval_dir}: expected at least {LEAST_PICTURES} pictures, got {count}")
    return tuple(listed[number * len(listed) // count] for number in range(count))


def build_within(
    arguments: argparse.Namespace,
    graph: Graph,
    config: BuildConfig,
    calibration: Calibration | None,
    pictures: Sequence[Picture],
) -> dict[str, Any]:
    """Writes the mix that keeps the budget and says how it fares on pictures that the search did not see.

    Every other picture is for the search, at most 512 of them; the rest is held out.  The figures are JSON-ready.
    """
    until = monotonic() + arguments.time
    labelled = all(picture.label is not None for picture in pictures)

    def inputs(session: Session) -> list[Array]:
        return random_inputs(session, config.batch_size)

    seen = pictures[: HALF * MOST_SEARCHED : HALF]
    with tempfile.TemporaryDirectory() as folder:
        mixes = Mixes(graph, config, calibration)
        float_path, mix_path = Path(folder, "float.alula"), Path(folder, "mix.alula")
        with stage("building in float"):
            mixes.floats().save(float_path)
        searched = Searched(float_path, seen, labelled)
        with stage("timing products in bytes and in float"):
            times, float_times = mix_times(mixes, inputs)
        kept = slower(times, float_times)
        found = _errors(mixes, searched, monotonic() + RANKING_SHARE * arguments.time)
        order = [label for label in ranked(found.values(), times, float_times) if label not in kept]

        tried: list[dict[str, float]] = []

        def drop(labels: Sequence[str]) -> float:
            with stage(f"trying {len(labels)} of {len(order)} products in float"):
                mixes.built(kept | dict.fromkeys(labels, "tried")).save(mix_path)
                points = searched.drop(mix_path)
            tried.append({"in_float": len(labels), "drop": points})
            left = max(0.0, until - monotonic())
            print(f"tried     {len(labels)} in float: {points:.2f} points, {left:.0f} s left", file=sys.stderr)
            return points

        def late() -> bool:
            return bool(monotonic() > until)

        search = Search(order, arguments.max_drop, drop, late)
        search.run()
        chosen, points = search.thinned(found)
        kept |= reasons(chosen, found)
        with stage(f"saving {arguments.output.name}"):
            mixes.built(kept).save(arguments.output)
        with stage("timing the mix"):
            ms = mix_times(mixes, inputs, kept)[0].total_ms
        held_out = [picture for picture in pictures if picture not in set(seen)]
        paired, failures = _compared(float_path, arguments.output, held_out)
    got = -100 * paired.difference if labelled else 100 * (1 - paired.agreement.share)
    figures = {
        "max_drop": arguments.max_drop,
        "measure": "top-1" if labelled else "disagreement",
        "searched": len(searched.labels),
        "products": len(found),
        "kept": kept,
        "tried": tried,
        "in_time": not late() or points <= arguments.max_drop,
        "searched_drop": points,
        "held_out_drop": got,
        "held_out": paired.to_json(),
        "met": bool(got <= arguments.max_drop),
        "ms": ms,
        "bytes_ms": times.total_ms,
        "float_ms": float_times.total_ms,
        "failures": searched.failures + failures,
    }
    _print(figures, paired, labelled)
    return figures


class Searched:
    """The pictures that the search may see, in memory, with the float model's answers to them."""

    def __init__(self, float_path: Path, pictures: Sequence[Picture], labelled: bool) -> None:
        self.batches: list[Array] = []
        self.failures: list[dict[str, str]] = []
        labels: list[int | None] = []
        with open_classifier(float_path, None) as classifier:
            for batch, indices in _batches(classifier, pictures, self.failures, "reading pictures"):
                self.batches.append(batch)
                labels += [pictures[index].label for index in indices]
            if not self.batches:
                raise UsageError("--eval-dir: expected pictures that can be read, got none")
            self.reference = self._scores(classifier)
        own = self.reference.argmax(axis=1)
        self.labels = np.array(labels, np.int64) if labelled else own.astype(np.int64)

    def drop(self, path: Path) -> float:
        """What the model in a file loses, in points: what is to be expected, or what is beyond chance to have counted.

        Of so many flips, a surplus of their number's square root says nothing (McNemar's standard error).
        """
        with open_classifier(path, None) as classifier:
            scores = self._scores(classifier)
        if not np.isfinite(scores).all():
            return UNUSABLE
        before, after = (table.argmax(axis=1) == self.labels for table in (self.reference, scores))
        lost, won = int((before & ~after).sum()), int((after & ~before).sum())
        counted = (lost - won - sqrt(lost + won)) / len(before)
        return 100 * float(max(expected_drop(self.reference, scores, self.labels), counted))

    def _scores(self, classifier: Classifier) -> Array:
        return np.concatenate([classifier.scores(batch) for batch in self.batches])


def _errors(mixes: Mixes, searched: Searched, until: float) -> dict[str, Sensitivity]:
    """The products' errors on a few pictures, fewer where the time is short, by label."""
    size = max(mixes.least_batch, RANKED_AT_A_TIME if mixes.serves_any_batch else 1)
    some = np.concatenate(searched.batches[: -(-RANKED // len(searched.batches[0]))])

    def data() -> Iterator[list[Array]]:
        with progress("measuring errors", len(some)) as shown:
            for start in range(0, min(RANKED, len(some) - size + 1), size):
                if start and monotonic() > until:
                    return
                yield [some[start : start + size]]
                shown.advance(size)

    return {one.label: one for one in sensitivities(mixes.built({}).graph, mixes.final, data())}


def _batches(
    classifier: Classifier, pictures: Sequence[Picture], failures: list[dict[str, str]], what: str
) -> Iterator[tuple[Array, list[int]]]:
    least, most = classifier.session.batch_range
    with progress(what, len(pictures)) as shown:
        for batch in stream(pictures, classifier.contract, max(least, min(most, PICTURES_AT_A_TIME))):
            failures += [{"name": pictures[f.index].name, "error": f.reason} for f in batch.failures]
            if len(batch.indices):
                yield batch.inputs, batch.indices.tolist()
            shown.advance(len(batch.indices) + len(batch.failures))


def _compared(reference: Path, output: Path, pictures: Sequence[Picture]) -> tuple[Paired, list[dict[str, str]]]:
    """Both models on the same pictures, and what could not be read."""
    paired = Paired()
    failures: list[dict[str, str]] = []
    with open_classifier(reference, None) as first, open_classifier(output, None) as second:
        for batch, indices in _batches(first, pictures, failures, "held-out pictures"):
            labels = [pictures[index].label for index in indices]
            paired.take(indices, first.scores(batch), second.scores(batch), labels)
    return paired, failures


def _print(figures: Mapping[str, Any], paired: Paired, labelled: bool) -> None:
    report_failures([failure["error"] for failure in figures["failures"]])
    what = "top-1" if labelled else "answers other than float32's"
    print(f"budget    {figures['max_drop']:g} points of {what}")
    print(f"kept      {len(figures['kept'])} of {figures['products']} products in float (alula explain says why)")
    others = f"all in bytes {figures['bytes_ms']:.2f}, none {figures['float_ms']:.2f}"
    print(f"time      {figures['ms']:.2f} ms on one thread; {others}")
    print(f"searched  {figures['searched_drop']:.2f} points on {figures['searched']} pictures")
    pictures = f"{paired.pictures} pictures that the search did not see"
    if labelled:
        low, high = (-100 * end for end in reversed(paired.difference_interval()))
        counts = f"95 % interval {low:.2f} to {high:.2f}; {paired.lost} lost, {paired.won} won"
    else:
        counts = f"{len(paired.flips)} flips"
    print(f"held out  {figures['held_out_drop']:.2f} points ({counts}) on {pictures}")
    over = figures["held_out_drop"] - figures["max_drop"]
    print("verdict   the budget is met" if figures["met"] else f"verdict   the budget is missed by {over:.2f} points")
