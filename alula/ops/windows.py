"""Sliding windows over height and width: what convolution, pooling, unfold, fold and outlook attention share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from alula.core.dims import Dim
from alula.core.dtype import Array
from alula.core.errors import ShapeError

Pair = tuple[int, int]
Pad = tuple[int, int, int, int]  # top, left, bottom, right

LARGEST_WINDOW = 1 << 20


def window_counts(h: Dim, w: Dim, kernel: Pair, stride: Pair, pad: Pad, dilation: Pair = (1, 1)) -> tuple[Dim, Dim]:
    """Windows down and across: floor((size + pads - dilation*(kernel-1) - 1) / stride) + 1 of each.

    Raises ShapeError unless kernel, stride and dilation are positive, every pad is 0 or more and smaller than the
    dilated kernel (so that a window never lies in padding alone), and the counts of fixed sizes are not negative.
    """
    for what, values in (("kernel", kernel), ("stride", stride), ("dilation", dilation)):
        if not all(1 <= value < LARGEST_WINDOW for value in values):
            raise ShapeError(f"expected {what} of 1..{LARGEST_WINDOW - 1}, got {values}")
    reach = dilated(kernel, dilation)
    if not all(0 <= value < reach[i % 2] for i, value in enumerate(pad)):
        raise ShapeError(f"expected pad of 0 or more and smaller than the kernel's reach {reach}, got {pad}")
    counts = tuple((size + pad[i] + pad[i + 2] - reach[i]) // stride[i] + 1 for i, size in enumerate((h, w)))
    if any(isinstance(count, int) and count < 0 for count in counts):
        raise ShapeError(f"expected a kernel's reach {reach} within the padded size, got {h}x{w} with pad {pad}")
    return counts[0], counts[1]


def ceil_window_counts(h: Dim, w: Dim, kernel: Pair, stride: Pair, pad: Pad) -> tuple[Dim, Dim]:
    """The counts when the last window may overhang: as above with ceil, but every window starts before the end pad.

    Raises ShapeError where a size is not fixed and its stride is not 1: the rule is no polynomial.
    Source: PyTorch's documentation of MaxPool2d, ceil_mode.
    """
    whole = window_counts(h, w, kernel, stride, pad)
    return _one_more(h, whole[0], 0, kernel, stride, pad), _one_more(w, whole[1], 1, kernel, stride, pad)


def _one_more(size: Dim, count: Dim, i: int, kernel: Pair, stride: Pair, pad: Pad) -> Dim:
    if stride[i] == 1:
        return count
    if not isinstance(size, int) or not isinstance(count, int):
        raise ShapeError(f"expected a fixed size with ceil_mode, got {size}")
    overhangs = (size + pad[i] + pad[i + 2] - kernel[i]) % stride[i] != 0
    return count + int(overhangs and count * stride[i] < size + pad[i])


def dilated(kernel: Pair, dilation: Pair) -> Pair:
    """Rows and columns from a window's first to its last element, inclusive."""
    return (kernel[0] - 1) * dilation[0] + 1, (kernel[1] - 1) * dilation[1] + 1


def padded(x: Array, pad: Pad, value: Any = 0) -> Array:
    """x[n,h,w,c] with rows and columns of `value`, one for each channel or one for all, around it."""
    top, left, bottom, right = pad
    n, h, w, c = x.shape
    whole = np.empty((n, top + h + bottom, left + w + right, c), x.dtype)
    whole[...] = np.asarray(value if np.size(value) else 0)
    whole[:, top : top + h, left : left + w] = x
    return whole


def windows(x: Array, kernel: Pair, stride: Pair, dilation: Pair = (1, 1)) -> Array:
    """x[n,h,w,c] -> [n,oh,ow,kh,kw,c], a view: the windows that lie in x."""
    n, h, w, c = x.shape
    reach = dilated(kernel, dilation)
    if h < reach[0] or w < reach[1]:
        counts = [max(0, (size - r) // s + 1) for size, r, s in zip((h, w), reach, stride, strict=True)]
        return np.zeros((n, *counts, *kernel, c), x.dtype)
    view = sliding_window_view(x, reach, axis=(1, 2))[:, :: stride[0], :: stride[1], :, :: dilation[0], :: dilation[1]]
    return view.transpose(0, 1, 2, 4, 5, 3)
