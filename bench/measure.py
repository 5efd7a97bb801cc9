"""Fair timing: engines in turns, medians of rounds, ratios within a round."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from bench.worker import Turn

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
