"""Pooling over windows of height and width."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from alula.core.dtype import Array, DType
from alula.ir.op import Op, register
from alula.ir.types import TensorType
from alula.ops.checks import FLOATS, NUMBERS, check_dtype
from alula.ops.reduce import lowest
from alula.ops.windows import Pad, Pair, ceil_window_counts, padded, window_counts, windows


@dataclass(frozen=True, slots=True)
class Pool2d(Op):
    """One element of each window.  x[n,h,w,c] -> [n,oh,ow,c], same dtype.

    oh = floor((h + pads - kernel) / stride) + 1; with ceil_mode the last window may overhang the end (windows.py).
    Raises ShapeError for another rank, and for windows that do not fit.
    """

    allowed: ClassVar[frozenset[DType]] = NUMBERS
    kernel: Pair
    stride: Pair
    pad: Pad = (0, 0, 0, 0)
    ceil_mode: bool = False

    def infer(self, x: TensorType) -> TensorType:
        check_dtype(x, self.allowed)
        n, h, w, c = x.dims("NHWC")
        count = ceil_window_counts if self.ceil_mode else window_counts
        return x.reshaped(n, *count(h, w, self.kernel, self.stride, self.pad), c)

    def windows(self, x: Array, value: Any, beyond: Any) -> Array:
        """Its windows: `value` in the padding, `beyond` where the last ones overhang even that."""
        around = padded(x, self.pad, value)
        _, oh, ow, _ = (int(dim) for dim in self.infer(TensorType.of(x)).shape)  # type: ignore[arg-type]
        bottom = max(0, (oh - 1) * self.stride[0] + self.kernel[0] - around.shape[1])
        right = max(0, (ow - 1) * self.stride[1] + self.kernel[1] - around.shape[2])
        whole = padded(around, (0, 0, bottom, right), beyond)
        return windows(whole, self.kernel, self.stride)[:, :oh, :ow]


@register
@dataclass(frozen=True, slots=True)
class MaxPool2d(Pool2d):
    """Greatest element of each window; padding never wins, NaN always does.  x[n,h,w,c] -> [n,oh,ow,c], same dtype.

    Source: ONNX MaxPool-12 with dilations=1, channels last.
    """

    name: ClassVar[str] = "max_pool2d"

    def reference(self, x: Array) -> Array:
        least = lowest(x.dtype)
        return np.asarray(self.windows(x, least, least).max(axis=(3, 4)))


@register
@dataclass(frozen=True, slots=True)
class AvgPool2d(Pool2d):
    """Mean of each window, floats, computed in float64 and rounded.  x[n,h,w,c] -> [n,oh,ow,c], same dtype.

    The divisor counts elements of x, and with count_include_pad those of the padding; what overhangs it never counts.
    Source: PyTorch's documentation of AvgPool2d.
    """

    name: ClassVar[str] = "avg_pool2d"
    allowed: ClassVar[frozenset[DType]] = FLOATS
    count_include_pad: bool = True

    def reference(self, x: Array) -> Array:
        counted = self.windows(np.ones_like(x, np.float64), float(self.count_include_pad), 0.0)
        with np.errstate(all="ignore"):
            return np.asarray(self.windows(x.astype(np.float64), 0.0, 0.0).sum((3, 4)) / counted.sum((3, 4)), x.dtype)
