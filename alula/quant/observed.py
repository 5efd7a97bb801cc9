"""What calibration keeps of one activation: ends, moments and a histogram of every channel."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from alula.core.dtype import Array
from alula.quant.histogram import Floats, Histogram
from alula.quant.moments import Sketch

MOST_COUNTED = 65_536  # elements of an image that histograms, moments and sketches take; ends take all
MOMENTUM = 0.9  # of the moving average: what is kept of it with every image


@dataclass(slots=True)
class Observed:
    """Of x[...,c], by channel: `low` and `high` over all images, their moving averages, mean and mean square.

    moving = 0.9 * moving + 0.1 * (the image's end), from the first image's on.
    """

    channels: int
    images: int = 0
    rows: int = 0
    spans: int = 0
    low: Floats = field(init=False)
    high: Floats = field(init=False)
    moving_low: Floats = field(init=False)
    moving_high: Floats = field(init=False)
    sums: Floats = field(init=False)
    squares: Floats = field(init=False)
    row_spans: float = 0.0
    histogram: Histogram = field(init=False)
    sketch: Sketch = field(init=False)

    def __post_init__(self) -> None:
        self.low, self.high = np.full(self.channels, np.inf), np.full(self.channels, -np.inf)
        self.moving_low, self.moving_high, self.sums, self.squares = np.zeros((4, self.channels))
        self.histogram, self.sketch = Histogram(self.channels), Sketch(self.channels)

    def take(self, values: Array) -> bool:
        """Takes x[...,c] of one image; False, and nothing is taken, where it has numbers that are not finite."""
        rows = values.reshape(-1, self.channels)
        if not len(rows):
            return True
        low, high = rows.min(axis=0).astype(np.float64), rows.max(axis=0).astype(np.float64)
        if not np.isfinite(low).all() or not np.isfinite(high).all():  # NaN wins both
            return False
        kept = MOMENTUM if self.images else 0.0
        self.moving_low = kept * self.moving_low + (1 - kept) * low
        self.moving_high = kept * self.moving_high + (1 - kept) * high
        self.low, self.high = np.minimum(self.low, low), np.maximum(self.high, high)
        step = -(-rows.size // MOST_COUNTED)
        some = rows[self.images % step :: step]
        self.sums += some.sum(axis=0, dtype=np.float64)
        self.squares += np.square(some, dtype=np.float64).sum(axis=0)
        spans = some.max(axis=1, initial=0).astype(np.float64) - some.min(axis=1, initial=0)
        self.row_spans += float(np.log(spans[spans > 0]).sum())
        self.spans += int((spans > 0).sum())
        self.rows += len(some)
        self.histogram.take(some)
        self.sketch.take(some)
        self.images += 1
        return True

    @property
    def mean(self) -> Floats:
        """f64[c]."""
        return self.sums / max(self.rows, 1)

    @property
    def variance(self) -> Floats:
        """f64[c]."""
        return np.maximum(self.squares / max(self.rows, 1) - self.mean**2, 0.0)

    @property
    def row_span(self) -> float:
        """From the least of a row and 0 to the greatest: the geometric mean over rows but those of zeros."""
        return float(np.exp(self.row_spans / self.spans)) if self.spans else 0.0
