"""Windows as columns, and columns summed back into windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dtype import Array
from alula.core.errors import ShapeError
from alula.ir.op import Op, register
from alula.ir.types import TensorType
from alula.ops.checks import FLOATS, NUMBERS, check_dtype
from alula.ops.windows import Pad, Pair, padded, window_counts, windows


@register
@dataclass(frozen=True, slots=True)
class Unfold(Op):
    """The elements of each window, zeros in the padding.  x[n,h,w,c] -> [n,oh,ow,kh*kw,c], numbers.

    Source: PyTorch's documentation of Unfold, channels last.
    """

    name: ClassVar[str] = "unfold"
    kernel: Pair
    stride: Pair
    pad: Pad
    dilation: Pair = (1, 1)

    def infer(self, x: TensorType) -> TensorType:
        check_dtype(x, NUMBERS)
        n, h, w, c = x.dims("NHWC")
        oh, ow = window_counts(h, w, self.kernel, self.stride, self.pad, self.dilation)
        return x.reshaped(n, oh, ow, self.kernel[0] * self.kernel[1], c)

    def reference(self, x: Array) -> Array:
        view = windows(padded(x, self.pad), self.kernel, self.stride, self.dilation)
        n, oh, ow, kh, kw, c = view.shape
        return view.reshape(n, oh, ow, kh * kw, c)


@register
@dataclass(frozen=True, slots=True)
class Fold(Op):
    """The sum of all windows' elements at each place of `size`; what lies in the padding is dropped.

    x[n,oh,ow,kh*kw,c] -> [n,*size,c], floats, summed in float64 and rounded.  The transpose of Unfold.
    Raises ShapeError unless oh and ow count the windows of `size`.
    Source: PyTorch's documentation of Fold, channels last.
    """

    name: ClassVar[str] = "fold"
    size: Pair
    kernel: Pair
    stride: Pair
    pad: Pad
    dilation: Pair = (1, 1)

    def infer(self, x: TensorType) -> TensorType:
        check_dtype(x, FLOATS)
        n, oh, ow, elements, c = x.dims("NHWKC")
        counts = window_counts(*self.size, self.kernel, self.stride, self.pad, self.dilation)
        if (oh, ow) != counts or elements != self.kernel[0] * self.kernel[1]:
            raise ShapeError(f"expected x[n,{counts[0]},{counts[1]},{self.kernel[0] * self.kernel[1]},c], got {x}")
        return x.reshaped(n, *self.size, c)

    def reference(self, x: Array) -> Array:
        return folded(x.astype(np.float64), self.size, self.kernel, self.stride, self.pad, self.dilation).astype(
            x.dtype
        )


def folded(x: Array, size: Pair, kernel: Pair, stride: Pair, pad: Pad, dilation: Pair = (1, 1)) -> Array:
    """x[n,oh,ow,kh*kw,c] -> [n,*size,c], the sum of overlaps."""
    n, oh, ow, elements, c = x.shape
    (top, left, bottom, right), (h, w) = pad, size
    whole = np.zeros((n, h + top + bottom, w + left + right, c), x.dtype)
    for element in range(elements):
        row, column = (place * step for place, step in zip(divmod(element, kernel[1]), dilation, strict=True))
        rows = slice(row, row + oh * stride[0], stride[0])
        columns = slice(column, column + ow * stride[1], stride[1])
        whole[:, rows, columns][:, :oh, :ow] += x[:, :, :, element]
    return whole[:, top : top + h, left : left + w]
