"""What timings say: their spread, how sure their median is, and whether two sets of them differ.

Neighbouring runs are alike, for what disturbs a machine lasts longer than a run.  So runs are resampled and exchanged
in blocks of neighbours, about the square root of their number long; single ones would promise too much.
Sources: Künsch 1989 (block bootstrap); Phipson and Smyth 2010 (a permutation's p is never 0).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

PERCENTILES = (50, 90, 95, 99)
RESAMPLES = 1000
PERMUTATIONS = 2000
INTERVAL = (2.5, 97.5)
AT_ONCE = 1 << 18  # values
SEED = 0

Samples = NDArray[np.float64]


def summary(values: Samples) -> dict[str, float]:
    """min, mean, p50, p90, p95, p99 and max."""
    percentiles = {f"p{share}": float(np.percentile(values, share)) for share in PERCENTILES}
    return {"min": float(values.min()), "mean": float(values.mean()), **percentiles, "max": float(values.max())}


def spread(values: Samples) -> float:
    """Half of the values are at most so far from the median (the median absolute deviation)."""
    return float(np.median(np.abs(values - np.median(values))))


def median_interval(values: Samples) -> tuple[float, float]:
    """95 % interval of the median."""
    low, high = np.percentile(_medians(values, np.random.default_rng(SEED)), INTERVAL)
    return float(low), float(high)


def ratio_interval(of: Samples, over: Samples) -> tuple[float, float]:
    """95 % interval of the ratio of their medians."""
    random = np.random.default_rng(SEED)
    low, high = np.percentile(_medians(of, random) / _medians(over, random), INTERVAL)
    return float(low), float(high)


def difference_p(one: Samples, other: Samples) -> float:
    """How often medians would differ by as much or more if it made no difference which set a block of runs is of."""
    random = np.random.default_rng(SEED)
    length = min(_block(len(one)), _block(len(other)))
    left, right = _split(one, length), _split(other, length)
    blocks, first = np.concatenate([left, right]), len(left)
    observed = abs(np.median(left) - np.median(right))
    as_far = 0
    for count in _portions(PERMUTATIONS, blocks.size):
        order = random.permuted(np.tile(np.arange(len(blocks)), (count, 1)), axis=1)
        drawn = blocks[order]
        medians = [np.median(part.reshape(count, -1), axis=1) for part in (drawn[:, :first], drawn[:, first:])]
        as_far += int((np.abs(medians[0] - medians[1]) >= observed).sum())
    return (as_far + 1) / (PERMUTATIONS + 1)


def _block(count: int) -> int:
    return math.isqrt(max(1, count))


def _split(values: Samples, length: int) -> Samples:
    """values[n, length]: whole blocks; the few values before the first one are left out."""
    return values[len(values) % length :].reshape(-1, length)


def _medians(values: Samples, random: np.random.Generator) -> Samples:
    """Medians of RESAMPLES series of as many values, each made of blocks that begin anywhere in `values`."""
    total, length = len(values), _block(len(values))
    medians = []
    for count in _portions(RESAMPLES, total):
        starts = random.integers(0, total - length + 1, (count, -(-total // length)))
        places = (starts[:, :, None] + np.arange(length)).reshape(count, -1)[:, :total]
        medians.append(np.median(values[places], axis=1))
    return np.concatenate(medians)


def _portions(rounds: int, values: int) -> list[int]:
    """`rounds` in portions that take little memory, each of them working on so many values."""
    most = max(1, AT_ONCE // values)
    return [min(most, rounds - done) for done in range(0, rounds, most)]
