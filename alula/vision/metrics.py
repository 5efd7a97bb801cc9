"""Top-k accuracy with exact counts and an honest interval."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt

import numpy as np
from numpy.typing import ArrayLike, NDArray

NORMAL_95 = 1.959963984540054  # the standard normal distribution's 97.5th percentile


@dataclass(frozen=True, slots=True)
class Accuracy:
    """`correct` of `total` pictures."""

    correct: int
    total: int

    @property
    def share(self) -> float:
        """0 to 1; nan of no pictures."""
        return self.correct / self.total if self.total else float("nan")

    def interval(self) -> tuple[float, float]:
        """95 % score interval of the share (Wilson 1927); 0 to 1 of no pictures."""
        if self.total == 0:
            return 0.0, 1.0
        square = NORMAL_95**2
        middle = (self.correct + square / 2) / (self.total + square)
        spread = self.correct * (self.total - self.correct) / self.total + square / 4
        half = NORMAL_95 * sqrt(spread) / (self.total + square)
        return max(0.0, middle - half), min(1.0, middle + half)

    def to_json(self) -> dict[str, float | int | None]:
        """JSON-ready; the share is null of no pictures."""
        low, high = self.interval()
        return {
            "correct": self.correct,
            "total": self.total,
            "accuracy": self.share if self.total else None,
            "low_95": low,
            "high_95": high,
        }

    def __str__(self) -> str:
        low, high = self.interval()
        return f"{self.share:.2%} ({self.correct} of {self.total}, 95 % interval {low:.2%} to {high:.2%})"


def ranked(scores: ArrayLike, k: int) -> NDArray[np.int64]:
    """scores[n, classes] -> the k best classes[n, min(k, classes)], best first, of equals the lower class."""
    table = np.asarray(scores)
    return np.argsort(-table, axis=1, kind="stable")[:, :k].astype(np.int64)


def accuracy(best: ArrayLike, labels: ArrayLike) -> Accuracy:
    """How often labels[n] is among best[n, k]; top-1 of `best[:, :1]`."""
    table, wanted = np.asarray(best), np.asarray(labels)
    return Accuracy(int((table == wanted[:, None]).any(axis=1).sum()), len(wanted))
