"""Fair timing: engines in turns, medians of rounds, ratios within a round, and no time for a wrong answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alula.core.dtype import Array
from bench.worker import Turn

LARGEST_ERROR = 1e-4  # of float32 engines against each other; wrong weights or a lost layer are far above it
PAUSE_S = 0.02  # in which the threads of the engine before stop spinning


@dataclass(frozen=True, slots=True)
class Timing:
    """seconds[rounds, iterations] of one engine, and the cores that were busy meanwhile (CPU time / time)."""

    seconds: NDArray[np.float64]
    cores: float

    @classmethod
    def of(cls, turns: Sequence[Turn]) -> Timing:
        """What an engine's turns add up to."""
        seconds = np.array([turn.seconds for turn in turns])
        return cls(seconds, sum(turn.cpu_s for turn in turns) / float(seconds.sum()))

    @property
    def rounds(self) -> NDArray[np.float64]:
        """The median of each round, in seconds."""
        return np.median(self.seconds, axis=1)

    @property
    def median_s(self) -> float:
        """The median round."""
        return float(np.median(self.rounds))


def interleaved(turns: Mapping[str, Callable[[int], Turn]], rounds: int, iterations: int) -> dict[str, Timing]:
    """Every engine timed in turns, A B C A B C: what disturbs the machine for a while disturbs all of them alike."""
    taken: dict[str, list[Turn]] = {name: [] for name in turns}
    for _ in range(rounds):
        for name, turn in turns.items():
            time.sleep(PAUSE_S)
            taken[name].append(turn(iterations))
    return {name: Timing.of(turns) for name, turns in taken.items()}


def ratios(engine: Timing, other: Timing) -> NDArray[np.float64]:
    """engine / other, round by round: below 1 the engine is faster."""
    return engine.rounds / other.rounds


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far an output is from the reference: max abs difference / max abs reference, and whether arg-max is equal."""

    error: float
    same_argmax: bool

    @property
    def holds(self) -> bool:
        """True where the engine computed what it was asked to."""
        return self.error <= LARGEST_ERROR and self.same_argmax

    def __str__(self) -> str:
        return f"relative error {self.error:.1e}, arg-max {'equal' if self.same_argmax else 'different'}"


def agreement(output: Array, reference: Array) -> Agreement:
    """output[b,...] against reference[b,...]; an infinite error for another shape or what is not finite."""
    if output.shape != reference.shape or not np.isfinite(output).all():
        return Agreement(float("inf"), False)
    error = np.abs(output.astype(np.float64) - reference).max() / np.abs(reference).max()
    same = np.array_equal(output.argmax(axis=-1), reference.argmax(axis=-1))
    return Agreement(float(error), same)
