"""How far a tensor is from what it should be."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log10, sqrt

import numpy as np

from alula.core.dtype import Array, DType, from_bfloat16

LEAST_SHARE = 0.01  # of the operands' size: an output far smaller than they are is the rest of a cancellation


@dataclass(frozen=True, slots=True)
class Error:
    """`relative` is the root mean square of the difference over that of the expected values; `channel` the same of the
    worst channel (last axis), over all channels' expected values; `cosine` that between the two."""

    relative: float
    channel: float
    cosine: float

    @property
    def snr_db(self) -> float:
        """Signal to noise; infinite where nothing differs."""
        return inf if self.relative == 0 else -20 * log10(self.relative) if self.relative < inf else -inf


def error(got: Array, expected: Array, scale: float = 0.0) -> Error:
    """Of two arrays of one shape; infinite where one is finite and the other is not.

    `scale` is the size of what the values were made from: they are not expected to be more exact than a
    hundredth of it allows.
    """
    if got.shape != expected.shape:
        return Error(inf, inf, 0.0)
    x, y = widened(got), widened(expected)
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    if not np.isfinite(np.where(same, 0.0, x) + np.where(same, 0.0, y)).all():
        return Error(inf, inf, 0.0)
    x, y = (np.where(np.isfinite(values), values, 0.0) for values in (x, y))
    difference = np.square(x - y)
    size = sqrt(float(np.square(y).mean())) if y.size else 0.0
    bound = max(size, LEAST_SHARE * scale)
    if not difference.any():
        return Error(0.0, 0.0, 1.0)
    columns = difference.reshape(-1, difference.shape[-1]) if difference.ndim else difference.reshape(1, 1)
    worst, whole = sqrt(float(columns.mean(axis=0).max())), sqrt(float(columns.mean()))
    lengths = float(np.linalg.norm(x) * np.linalg.norm(y))
    cosine = float((x * y).sum()) / lengths if lengths else 0.0
    return Error(whole / bound, worst / bound, cosine) if bound else Error(inf, inf, cosine)


def widened(values: Array) -> Array:
    """In float64."""
    plain = from_bfloat16(values) if DType.of(values) is DType.BF16 else values
    return plain.astype(np.float64)


def size_of(values: Array) -> float:
    """The root mean square of the finite elements."""
    x = widened(values)
    finite = x[np.isfinite(x)]
    return sqrt(float(np.square(finite).mean())) if finite.size else 0.0
