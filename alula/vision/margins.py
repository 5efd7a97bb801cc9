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
    while how far margins move shows on all of them.  With the reference's own answers as labels this is disagreement.
    Probabilities are compared by their logarithms.
    """
    before, after = (margins(logits(scores), labels) for scores in (reference, other))
    moves = np.sort(after - before)
    right = 1 - np.searchsorted(moves, -before, side="right") / len(moves)  # share of moves beyond the border
    return float((before > 0).mean() - right.mean())


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
