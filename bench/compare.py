"""Engines against each other on one subject: first whether they agree, then how long they take."""

from __future__ import annotations

import math
from collections.abc import Container, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

from bench.agreement import Agreement, agreement
from bench.engines import Engine
from bench.measure import Timing, interleaved
from bench.precision import PRECISIONS
from bench.subject import Subject
from bench.worker import Worker

CHECKED = 8  # images at least, in whole batches: fewer do not show whether an engine tells them apart


@dataclass(frozen=True, slots=True)
class Effort:
    """How much to measure; `iterations` is for batch 1, larger batches take as many images, but two runs at least."""

    rounds: int
    iterations: int

    def runs(self, batch: int) -> int:
        """Timed runs of one turn."""
        return min(self.iterations, max(2, math.ceil(self.iterations / batch)))


@dataclass(frozen=True, slots=True)
class Comparison:
    """The engines at one batch and thread count; those that do not agree with PyTorch's float32 are refused."""

    subject: str
    batch: int
    threads: int
    agreements: dict[str, Agreement] = field(default_factory=dict)
    timings: dict[str, Timing] = field(default_factory=dict)

    @property
    def refused(self) -> list[str]:
        """The engines whose answer was wrong."""
        return [name for name, found in self.agreements.items() if not found.holds]


def compare(
    subject: Subject,
    engines: Mapping[str, type[Engine]],
    batch: int,
    threads: int,
    effort: Effort,
    bounded: Container[str] = PRECISIONS,
) -> Comparison:
    """Every engine loaded, checked against PyTorch's float32 in the batch that it is then timed in.

    What disagrees is timed all the same in a precision that is not among the `bounded` ones.
    """
    result = Comparison(subject.name, batch, threads)
    images, reference = subject.images(checked(batch)), subject.reference(checked(batch))
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        for name, kind in engines.items():
            worker = Worker(name, kind, getattr(subject, kind.takes), images[:batch], threads)
            workers[name] = stack.enter_context(closing(worker))
            result.agreements[name] = agreement(worker.output(images), reference, kind.precision)
        wrong = [name for name in result.refused if engines[name].precision.name in bounded]
        turns = {name: worker.turn for name, worker in workers.items() if name not in wrong}
        result.timings.update(interleaved(turns, effort.rounds, effort.runs(batch)))
    return result


def checked(batch: int) -> int:
    """The images that an engine is checked on: whole batches."""
    return batch * math.ceil(CHECKED / batch)
