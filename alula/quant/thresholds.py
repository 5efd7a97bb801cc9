"""Which range of an activation gets the 256 levels: algorithms on how often its numbers occur."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from alula.ops.quantize import LARGEST_BYTE
from alula.quant.histogram import Floats
from alula.quant.ranges import Range

CELLS = 2048  # of equal width, that numbers are sorted into
PERCENT = 99.99
LEVELS = LARGEST_BYTE + 1
FRACTIONS = np.linspace(1.0, 0.15, 86)  # of the ends, that the search for the least error tries
NARROWEST = 128  # cells of the narrowest range that entropy tries
STRIDE = 8  # cells between two that it tries


@dataclass(frozen=True, slots=True)
class Spread:
    """How much of a tensor lies where: `amounts` around `centres`, f64[CELLS], equally wide from low to high.

    `weighed` is how much counts when the products that take the tensor are off by what each number is off by.
    `moving` is the moving average of the ends of one image after another.
    """

    low: float
    high: float
    moving: Range
    centres: Floats
    amounts: Floats
    weighed: Floats

    @classmethod
    def of(cls, numbers: Floats, amounts: Floats, weighed: Floats, ends: Range, moving: Range) -> Spread:
        """Sorts numbers, each as often as its amounts say, into cells between the ends."""
        width = (ends.high - ends.low) / CELLS
        if width <= 0:
            return cls(ends.low, ends.high, moving, np.zeros(CELLS), np.ones(CELLS), np.ones(CELLS))
        cells = np.clip(((numbers - ends.low) / width).astype(np.int64), 0, CELLS - 1)
        centres = np.asarray(ends.low + width * (np.arange(CELLS) + 0.5), np.float64)
        centres[np.clip(int(-ends.low / width), 0, CELLS - 1)] = 0.0  # 0 is a level whatever the range: it is exact
        sums = (np.bincount(cells, parts, CELLS).astype(np.float64) for parts in (amounts, weighed))
        return cls(ends.low, ends.high, moving, centres, *sums)


def linear(spread: Spread) -> Range:
    """The least and the greatest number."""
    return Range(spread.low, spread.high)


def moving_average(spread: Spread) -> Range:
    """The moving average of each image's least and greatest number: Jacob et al., arXiv 1712.05877, section 3.1."""
    return spread.moving


def percentile(spread: Spread) -> Range:
    """What holds all but the outermost 0.01 % of the numbers, half of them at each end that is not 0."""
    outside = 1 - PERCENT / 100
    below = np.cumsum(spread.amounts) / max(spread.amounts.sum(), np.finfo(float).tiny)
    sides = (spread.low < 0) + (spread.high > 0)
    share = outside / max(sides, 1)
    first, last = np.minimum(np.searchsorted(below, (share, 1 - share)), CELLS - 1)
    low, high = float(spread.centres[first]), float(spread.centres[last])
    return Range(min(low, 0.0) if spread.low < 0 else 0.0, max(high, 0.0) if spread.high > 0 else 0.0)


def eqnm(spread: Spread) -> Range:
    """The range of the least mean squared error of the products: both ends drawn in together, then each alone.

    err(x) = x - clip(x) outside; within, step**2 / 12 for numbers of at least half a step, x**2 for smaller ones.
    """
    both = min((Range(spread.low * f, spread.high * f) for f in FRACTIONS), key=lambda r: _error(spread, r))
    lows = min((Range(both.low * f, both.high) for f in FRACTIONS), key=lambda r: _error(spread, r))
    return min((Range(lows.low, lows.high * f) for f in FRACTIONS), key=lambda r: _error(spread, r))


def entropy(spread: Spread) -> Range:
    """The range whose levels tell the most of the distribution: the least Kullback-Leibler divergence.

    Of one end, or of both alike where numbers have both signs.
    Source: Migacz, 8-bit inference with TensorRT, GTC 2017.
    """
    signed = spread.low < 0 < spread.high
    reach = max(-spread.low, spread.high)
    if reach <= 0:
        return Range()
    cells = np.minimum((np.abs(spread.centres) / reach * CELLS).astype(np.int64), CELLS - 1)
    amounts = np.bincount(cells, spread.amounts, CELLS).astype(np.float64)
    levels = LEVELS // 2 if signed else LEVELS
    tried = range(max(NARROWEST, levels), CELLS + 1, STRIDE)
    best = min(tried, key=lambda kept: _divergence(amounts, kept, levels)) * reach / CELLS
    return Range(max(spread.low, -best), min(spread.high, best))


Algorithm = Callable[[Spread], Range]
ALGORITHMS: dict[str, Algorithm] = {
    algorithm.__name__: algorithm for algorithm in (linear, moving_average, percentile, entropy, eqnm)
}


def _error(spread: Spread, range: Range) -> float:
    step = (range.high - range.low) / LARGEST_BYTE
    x = spread.centres
    outside = x - np.clip(x, range.low, range.high)
    inside = np.where(np.abs(x) < step / 2, x**2, step**2 / 12)
    return float(spread.weighed @ np.where(outside == 0, inside, outside**2))


def _divergence(amounts: Floats, kept: int, levels: int) -> float:
    """KL(P || Q): P the first `kept` cells with all others in the last of them, Q what `levels` levels make of them."""
    p = amounts[:kept].copy()
    level = np.arange(kept) * levels // kept
    filled = p > 0
    totals, cells = np.bincount(level, p, levels), np.bincount(level, filled, levels)
    q = np.where(filled, (totals / np.maximum(cells, 1))[level], 0.0)
    p[-1] += amounts[kept:].sum()
    if p.sum() <= 0 or q.sum() <= 0:
        return np.inf
    p, q = p / p.sum(), q / q.sum()
    least = 1e-12
    return float((p[p > 0] * np.log(p[p > 0] / np.maximum(q[p > 0], least))).sum())
