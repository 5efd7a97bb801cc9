"""What a model in low precision is likely to lose, from how far its scores move: less chancy than counting flips."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.floating[Any]]
LEAST = 1e-30  # of a probability, before its logarithm is taken
SLACK = 1e-3


def expected_drop(reference: Scores, other: Scores, labels: NDArray[np.int64]) -> float:
    """The share of pictures, -1 to 1, that `other` is likely to get wrong and `reference` does not, less the reverse.

    Scores[n, classes] of the same pictures.  A margin is the label's score less the best of the others; a picture is
    right where it is positive.  Every picture's margin in the reference is moved by what each picture's margin has been
    moved by, n * n cases in all: few pictures lie near the border, so flips are few and their count depends on chance,
    while how far margins move shows on all of them.  Where just these few lie is chance as well, so margins are spread
    by a kernel of Silverman's width (Density Estimation, 1986, 3.31); not where none is wrong, as with the reference's
    own answers for labels, where this is disagreement: there is nothing beyond the border then.
    Probabilities are compared by their logarithms.
    """
    before, after = (margins(logits(scores), labels) for scores in (reference, other))
    width = 0.0 if (before > 0).all() else _silverman(before)
    moved = np.mean([_right(before + move, width).mean() for move in after - before])
    return float(_right(before, width).mean() - moved)


def _silverman(values: NDArray[np.float64]) -> float:
    """The scale of a logistic kernel, whose standard deviation is pi / sqrt(3) of it."""
    low, high = np.percentile(values, [25, 75])
    deviation = min(float(values.std()), float(high - low) / 1.34)
    return float(0.9 * deviation * len(values) ** -0.2 * np.sqrt(3) / np.pi)


def _right(margins: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """The share of each picture's kernel that lies on the right side."""
    return 0.5 + 0.5 * np.tanh(margins / (2 * width)) if width else (margins > 0).astype(np.float64)


def margins(scores: Scores, labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """scores[n, classes] -> the label's score less the best other one, f64[n]."""
    table = scores.astype(np.float64)
    rows = np.arange(len(table))
    own = table[rows, labels]
    table[rows, labels] = -np.inf
    difference: NDArray[np.float64] = own - table.max(axis=1)
    return difference


def logits(scores: Scores) -> Scores:
    """Scores, or the logarithms of probabilities."""
    if len(scores) and scores.min() >= 0 and np.allclose(scores.sum(axis=1), 1.0, atol=SLACK):
        return np.log(np.maximum(scores.astype(np.float64), LEAST))
    return scores
