"""How often a tensor's channels take which values, in bins that need no range beforehand."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from alula.core.dtype import Array

BINS = 128  # of each sign: 16 octaves below the largest number, what is smaller counts as 0
SHIFT = 20  # of a float32's bits: its exponent and three bits of its fraction are left, so 8 bins an octave
PARTS = 4  # places that a bin's count is spread over
Floats = NDArray[np.float64]


@dataclass(slots=True)
class Histogram:
    """counts[c,2*BINS] of c channels: numbers below 0, then from 0 on; bin b of each sign is nearer to 0 than b + 1.

    A bin is an eighth of an octave, so the same histogram serves channels whatever they are multiplied by.  Its memory
    depends on c alone.  Larger numbers than any before move the bins: the lowest join those that count as 0.
    """

    channels: int
    top: int = 0  # the key (exponent and first bits) of the last bin
    counts: NDArray[np.int64] = field(init=False)

    def __post_init__(self) -> None:
        self.counts = np.zeros((self.channels, 2 * BINS), np.int64)

    def take(self, rows: Array) -> None:
        """Counts rows[n,c], finite float32."""
        if not rows.size:
            return
        bits = np.ascontiguousarray(rows).view(np.int32)
        keys = (bits & 0x7FFFFFFF) >> SHIFT
        self._reach(int(keys.max()))
        bins = np.maximum(keys - (self.top - BINS + 1), 0)
        bins += np.where(bits < 0, 0, BINS)
        bins = bins + 2 * BINS * np.arange(self.channels)
        self.counts += np.bincount(bins.reshape(-1), minlength=self.counts.size).reshape(self.counts.shape)

    def _reach(self, key: int) -> None:
        moved = key - self.top
        if moved <= 0:
            return
        signs = self.counts.reshape(self.channels, 2, BINS)
        kept = max(BINS - moved, 0)
        lowest = signs[:, :, : BINS - kept + 1].sum(axis=2)
        signs[:, :, :kept] = signs[:, :, BINS - kept :].copy()
        signs[:, :, kept:] = 0
        signs[:, :, 0] = lowest
        self.top = key

    def spread(self, weights: Floats, factors: Floats) -> tuple[Floats, Floats]:
        """Numbers and how much each counts: channel c's times factors[c], their counts times weights[c].

        A bin stands for PARTS numbers within it, the first of each sign for 0.
        """
        keys = np.arange(self.top - BINS + 1, self.top + 2, dtype=np.int64).clip(0)
        edges = (keys << SHIFT).astype(np.int32).view(np.float32).astype(np.float64)
        places = edges[:-1, None] + np.diff(edges)[:, None] * (np.arange(PARTS) + 0.5) / PARTS
        places[0] = 0
        signed = np.concatenate((-places, places))
        counted = np.flatnonzero(self.counts)
        channels, bins = counted // (2 * BINS), counted % (2 * BINS)
        numbers = signed[bins] * factors[channels, None]
        amounts = self.counts.reshape(-1)[counted] * weights[channels] / PARTS
        return numbers.reshape(-1), np.repeat(amounts, PARTS)
