"""Two models on the same pictures: which answers changed, and whether the change means anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from math import comb, inf, log10, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alula.vision.metrics import NORMAL_95, Accuracy

MLPERF_SHARES = (0.99, 0.999)  # of the reference's accuracy: what MLPerf Inference asks of a model in low precision


@dataclass(frozen=True, slots=True)
class Flip:
    """A picture, by its index, to which the reference gives class `before` and the other model `after`."""

    index: int
    before: int
    after: int
    label: int | None = None

    @property
    def kind(self) -> str:
        """What became of the answer: `lost`, `won`, `still wrong`, or `changed` where the class is not known."""
        if self.label is None:
            return "changed"
        return "lost" if self.before == self.label else "won" if self.after == self.label else "still wrong"


@dataclass(slots=True)
class Paired:
    """A reference and another model on the same pictures, batch by batch; only differing answers are kept.

    `right`, of the labelled pictures, counts them by (the reference is right, the other is right).  `signal` is the sum
    of the squares of the reference's scores, `noise` that of the differences.
    """

    pictures: int = 0
    right: dict[tuple[bool, bool], int] = field(default_factory=dict)
    flips: list[Flip] = field(default_factory=list)
    signal: float = 0.0
    noise: float = 0.0

    def take(
        self,
        indices: Sequence[int],
        reference: NDArray[np.floating[Any]],
        other: NDArray[np.floating[Any]],
        labels: Sequence[int | None],
    ) -> None:
        """Scores[n, classes] of both for the pictures `indices`[n], all finite; of equal ones the lower class wins."""
        expected, got = reference.astype(np.float64), other.astype(np.float64)
        self.signal += float(np.square(expected).sum())
        self.noise += float(np.square(got - expected).sum())
        self.pictures += len(expected)
        answers = zip(indices, expected.argmax(axis=1).tolist(), got.argmax(axis=1).tolist(), labels, strict=True)
        for index, before, after, label in answers:
            if before != after:
                self.flips.append(Flip(index, before, after, label))
            if label is not None:
                outcome = before == label, after == label
                self.right[outcome] = self.right.get(outcome, 0) + 1

    @property
    def agreement(self) -> Accuracy:
        """How often both give the same class."""
        return Accuracy(self.pictures - len(self.flips), self.pictures)

    @property
    def snr_db(self) -> float:
        """Of the scores: 10 log10(signal / noise); infinite where nothing differs."""
        return decibels(self.signal, self.noise)

    @property
    def lost(self) -> int:
        """Pictures that the reference alone gets right."""
        return self.right.get((True, False), 0)

    @property
    def won(self) -> int:
        """Pictures that the other model alone gets right."""
        return self.right.get((False, True), 0)

    @property
    def accuracies(self) -> tuple[Accuracy, Accuracy]:
        """The reference's and the other's top-1 of the labelled pictures."""
        both, total = self.right.get((True, True), 0), sum(self.right.values())
        return Accuracy(both + self.lost, total), Accuracy(both + self.won, total)

    @property
    def difference(self) -> float:
        """The other's top-1 less the reference's, -1 to 1; nan without labelled pictures."""
        reference, other = self.accuracies
        return other.share - reference.share

    def difference_interval(self) -> tuple[float, float]:
        """95 % interval of the difference, for pairs (Bonett and Price 2012); -1 to 1 without labelled pictures."""
        total = sum(self.right.values())
        if not total:
            return -1.0, 1.0
        lost, won = (self.lost + 1) / (total + 2), (self.won + 1) / (total + 2)
        half = NORMAL_95 * sqrt((lost + won - (won - lost) ** 2) / (total + 2))
        return max(-1.0, won - lost - half), min(1.0, won - lost + half)

    def p_value(self) -> float:
        """McNemar's exact test: how likely so uneven a split of flips is if both models are equally good."""
        return mcnemar(self.lost, self.won)

    def keeps(self, share: float) -> tuple[bool, bool]:
        """Whether the other has at least `share` of the reference's top-1, and whether its interval leaves no doubt."""
        reference, other = self.accuracies
        low, high = self.difference_interval()
        allowed = (share - 1) * reference.share
        met = other.correct >= share * reference.correct
        return met, low >= allowed if met else high < allowed

    def to_json(self) -> dict[str, Any]:
        """JSON-ready; what labels are needed for is null without them, and so is an infinite ratio."""
        reference, other = self.accuracies
        known = bool(reference.total)
        return {
            "pictures": self.pictures,
            "agreement": self.agreement.to_json(),
            "snr_db": self.snr_db if self.snr_db < inf else None,
            "labelled": reference.total,
            "reference_top1": reference.to_json() if known else None,
            "top1": other.to_json() if known else None,
            "difference": self.difference if known else None,
            "difference_95": list(self.difference_interval()) if known else None,
            "lost": self.lost if known else None,
            "won": self.won if known else None,
            "mcnemar_p": self.p_value() if known else None,
            "mlperf": [self._verdict(share) for share in MLPERF_SHARES] if known else None,
        }

    def _verdict(self, share: float) -> dict[str, Any]:
        met, certain = self.keeps(share)
        return {"share": share, "met": met, "certain": certain}


def mcnemar(lost: int, won: int) -> float:
    """Two-sided p of McNemar's exact test: of lost + won tosses of a coin, a split at least as uneven; 1 of none."""
    tosses = lost + won
    tail = sum(comb(tosses, heads) for heads in range(min(lost, won) + 1))
    return min(1.0, 2 * tail / (1 << tosses))


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise); infinite of no noise, -infinite of noise alone."""
    if noise <= 0:
        return inf
    return 10 * log10(signal / noise) if signal > 0 else -inf
