"""Convolution."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dims import Dim
from alula.core.dtype import Array, DType, from_bfloat16, to_bfloat16
from alula.core.errors import ShapeError
from alula.ir.op import Op, register
from alula.ir.types import TensorType, fixed
from alula.ops.checks import FLOATS, check_dtype, check_same_dtype, check_shape
from alula.ops.matmul import check_byte_sum, check_panel, group_of, packed_shape, product_dtype, unpacked
from alula.ops.windows import Pad, Pair, padded, window_counts, windows


@register
@dataclass(frozen=True, slots=True)
class Conv2d(Op):
    """Cross-correlation, zero padding.  x[n,h,w,c], w[o,kh,kw,c/groups], bias[o] or none -> [n,oh,ow,o].

    The dtype is what `product_dtype` gives; floats are computed in float64 and rounded once, u8 with i8 is exact.
    With scale[c] and shift[c] (both or none; x may then be u8, the rest floats) the input is x*scale + shift, in the
    dtype of the weight or f32, before it is padded.  `border`[c] is what u8 is padded with where that is not 0.
    With panel > 0 the weight is packed, w[groups,ceil((o/groups)/panel),kh*kw*C/g,panel,g], without the last axis where
    g = `group_of` its dtype is 1; C is c/groups up to the next multiple of g, the weights of the channels beyond are
    zero; features = o and kernel = (kh, kw) are given.  The last `spare` columns of a packed kernel are zeros that only
    fill its rows up: they are no work.  Raises ShapeError for what does not fit.
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
    wide: bool = False
    border: tuple[int, ...] = ()
    spare: int = 0

    def infer(self, x: TensorType, w: TensorType, bias: TensorType | None = None) -> TensorType:
        n, h, width, _ = x.dims("NHWC")
        dtype = self._dtype(x, w)
        check_same_dtype(x.cast(dtype), bias)
        c = fixed(x.shape[3], "channel count")
        if self.groups < 1 or c % self.groups:
            raise ShapeError(f"expected groups that divide the {c} channels, got {self.groups}")
        if len(self.scale) != len(self.shift) or len(self.scale) not in (0, c):
            raise ShapeError(f"expected 0 or {c} scales and shifts, got {len(self.scale)} and {len(self.shift)}")
        o, kernel = self._weight(w, c // self.groups)
        if o % self.groups:
            raise ShapeError(f"expected groups that divide the {o} features, got {self.groups}")
        check_byte_sum(dtype, kernel[0] * kernel[1] * (c // self.groups))
        oh, ow = window_counts(h, width, kernel, self.stride, self.pad, self.dilation)
        check_shape("bias", bias, o)
        return TensorType(dtype, (n, oh, ow, o))

    def _dtype(self, x: TensorType, w: TensorType) -> DType:
        """The dtype of the sums, once x, weight and border go together."""
        if self.border:
            check_dtype(x, (DType.U8,))
            if self.scale or len(self.border) != x.shape[3] or not all(0 <= level <= 255 for level in self.border):
                raise ShapeError(f"expected a border of 0..255 for each channel and no scale, got {self.border}")
        if not self.scale or x.dtype not in ((DType.U8, DType.F32) if self.wide else (DType.U8,)):
            return product_dtype(x, w, wide=self.wide)
        check_dtype(w, FLOATS)
        return product_dtype(w if w.dtype is not DType.F16 else w.cast(DType.F32), w, wide=self.wide)

    def _weight(self, w: TensorType, c: int) -> tuple[int, Pair]:
        """Features and kernel, once the weight's shape is what they and `c` channels a group ask for."""
        check_panel(self.features, self.panel)
        if not 0 <= self.spare <= (self.kernel[1] - 1 if self.panel else 0):
            raise ShapeError(f"expected fewer spare columns than the packed kernel {self.kernel} has, got {self.spare}")
        if self.panel:
            (kh, kw), panels = self.kernel, -(-(self.features // self.groups) // self.panel)
            k = kh * kw * whole_groups(c, w.dtype)
            check_shape("packed w", w, self.groups, panels, *packed_shape(k, self.panel, w.dtype))
            return self.features, self.kernel
        if self.kernel != (0, 0):
            raise ShapeError(f"expected kernel (0, 0) for a weight that is not packed, got {self.kernel}")
        o, kh, kw, _ = (fixed(dim, "weight shape") for dim in w.dims("OHWC"))
        check_shape("w", w, o, kh, kw, c)
        return o, (kh, kw)

    def reference(self, x: Array, w: Array, bias: Array | None = None) -> Array:
        groups, plain = self.groups, self._plain(w, x.shape[3] // self.groups).astype(np.float64)
        with np.errstate(all="ignore"):
            view = windows(padded(self._scaled(x), self.pad, self.border), plain.shape[1:3], self.stride, self.dilation)
            n, oh, ow, kh, kw, c = view.shape
            columns = view.reshape(n, oh, ow, kh, kw, groups, c // groups).transpose(5, 0, 1, 2, 3, 4, 6)
            a = columns.reshape(groups, n * oh * ow, kh * kw * (c // groups))
            b = plain.reshape(groups, plain.shape[0] // groups, a.shape[2])
            y = (a @ b.transpose(0, 2, 1)).transpose(1, 0, 2).reshape(n, oh, ow, plain.shape[0])
            dtype = np.int32 if w.dtype == np.int8 else np.float32 if w.dtype == np.float16 != x.dtype else w.dtype
            return (y if bias is None else y + bias).astype(dtype)

    def _scaled(self, x: Array) -> Array:
        """The input as what is multiplied: with `wide` it is bf16."""
        if not self.scale:
            return x.astype(np.float64)
        scaled = x * np.array(self.scale) + np.array(self.shift)
        return from_bfloat16(to_bfloat16(scaled.astype(np.float32))).astype(np.float64) if self.wide else scaled

    def _plain(self, w: Array, c: int) -> Array:
        if not self.panel:
            return w
        rows = [unpacked(group, self.features // self.groups) for group in w]
        return np.concatenate(rows).reshape(self.features, *self.kernel, -1)[..., :c]

    def macs(self, types: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        x, w = types[0].shape, types[1].shape
        kernel = self.kernel if self.panel else w[1:3]
        return outputs[0].elements * kernel[0] * (kernel[1] - self.spare) * (x[3] // self.groups)


def whole_groups(channels: int, dtype: DType) -> int:
    """Channels up to the next whole group of a packed weight."""
    group = group_of(dtype)
    return -(-channels // group) * group
