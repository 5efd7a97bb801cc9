"""Convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dims import Dim
from alula.core.dtype import Array, DType
from alula.core.errors import ShapeError
from alula.ir.op import Op, register
from alula.ir.types import TensorType, fixed
from alula.ops.checks import FLOATS, check_dtype, check_same_dtype, check_shape
from alula.ops.matmul import check_panel, check_weight, unpacked
from alula.ops.windows import Pad, Pair, padded, window_counts, windows


@register
@dataclass(frozen=True, slots=True)
class Conv2d(Op):
    """Cross-correlation, zero padding.  x[n,h,w,c], w[o,kh,kw,c/groups], bias[o] or none -> [n,oh,ow,o], one dtype.

    With scale[c] and shift[c] (both or none; x may then be u8, the rest f32) the input is x*scale + shift before it is
    padded.  A weight of f16 goes with f32 too: stored in half the bytes, exact when it is widened.
    With panel > 0 the weight is packed, w[groups,ceil((o/groups)/panel),kh*kw*c/groups,panel], and features = o and
    kernel = (kh, kw) are given.  Computed in float64 and rounded once.  Raises ShapeError for what does not fit.
    """

    name: ClassVar[str] = "conv2d"
    stride: Pair = (1, 1)
    pad: Pad = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    groups: int = 1
    scale: tuple[float, ...] = ()
    shift: tuple[float, ...] = ()
    features: int = 0
    kernel: Pair = (0, 0)
    panel: int = 0

    def infer(self, x: TensorType, w: TensorType, bias: TensorType | None = None) -> TensorType:
        n, h, width, _ = x.dims("NHWC")
        self._check_dtypes(x, w, bias)
        c = fixed(x.shape[3], "channel count")
        if self.groups < 1 or c % self.groups:
            raise ShapeError(f"expected groups that divide the {c} channels, got {self.groups}")
        if len(self.scale) != len(self.shift) or len(self.scale) not in (0, c):
            raise ShapeError(f"expected 0 or {c} scales and shifts, got {len(self.scale)} and {len(self.shift)}")
        o, kernel = self._weight(w, c // self.groups)
        if o % self.groups:
            raise ShapeError(f"expected groups that divide the {o} features, got {self.groups}")
        oh, ow = window_counts(h, width, kernel, self.stride, self.pad, self.dilation)
        check_shape("bias", bias, o)
        return TensorType(_result(x.dtype, w.dtype), (n, oh, ow, o))

    def _check_dtypes(self, x: TensorType, w: TensorType, bias: TensorType | None) -> None:
        check_dtype(w, FLOATS)
        result = x.cast(_result(x.dtype, w.dtype))
        check_same_dtype(result, bias)
        if not (self.scale and x.dtype is DType.U8):
            check_same_dtype(result, x)
            check_weight(x, w)

    def _weight(self, w: TensorType, c: int) -> tuple[int, Pair]:
        """Features and kernel, once the weight's shape is what they and `c` channels a group ask for."""
        check_panel(self.features, self.panel)
        if self.panel:
            (kh, kw), panels = self.kernel, -(-(self.features // self.groups) // self.panel)
            check_shape("packed w", w, self.groups, panels, kh * kw * c, self.panel)
            return self.features, self.kernel
        if self.kernel != (0, 0):
            raise ShapeError(f"expected kernel (0, 0) for a weight that is not packed, got {self.kernel}")
        o, kh, kw, _ = (fixed(dim, "weight shape") for dim in w.dims("OHWC"))
        check_shape("w", w, o, kh, kw, c)
        return o, (kh, kw)

    def reference(self, x: Array, w: Array, bias: Array | None = None) -> Array:
        groups, plain = self.groups, self._plain(w).astype(np.float64)
        with np.errstate(all="ignore"):
            shifted = x * np.array(self.scale) + np.array(self.shift) if self.scale else x.astype(np.float64)
            view = windows(padded(shifted, self.pad), plain.shape[1:3], self.stride, self.dilation)
            n, oh, ow, kh, kw, c = view.shape
            columns = view.reshape(n, oh, ow, kh, kw, groups, c // groups).transpose(5, 0, 1, 2, 3, 4, 6)
            a = columns.reshape(groups, n * oh * ow, kh * kw * (c // groups))
            b = plain.reshape(groups, plain.shape[0] // groups, a.shape[2])
            y = (a @ b.transpose(0, 2, 1)).transpose(1, 0, 2).reshape(n, oh, ow, plain.shape[0])
            return (y if bias is None else y + bias).astype(_result(DType.of(x), DType.of(w)).numpy)

    def _plain(self, w: Array) -> Array:
        if not self.panel:
            return w
        rows = [unpacked(group, self.features // self.groups) for group in w]
        return np.concatenate(rows).reshape(
            self.features, *self.kernel, w.shape[2] // (self.kernel[0] * self.kernel[1])
        )

    def macs(self, types: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        w = types[1].shape
        return outputs[0].elements * (w[2] if self.panel else w[1] * w[2] * w[3])


def _result(x: DType, w: DType) -> DType:
    """The dtype of sums: the weight's, but f32 where only the weight is f16."""
    return DType.F32 if w is DType.F16 and x is not DType.F16 else w
