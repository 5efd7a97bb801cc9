"""Depthwise convolution: every channel by itself."""

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
from alula.ops.checks import check_dtype, check_shape
from alula.ops.quantize import LARGEST_BYTE
from alula.ops.windows import Pad, Pair, padded, window_counts, windows


@register
@dataclass(frozen=True, slots=True)
class DepthwiseConv2d(Op):
    """Cross-correlation of each channel with a kernel of its own, padded with 0.

    x[n,h,w,c] - zero, w f32[kh,kw,c], bias f32[c] or none -> f32[n,oh,ow,c].  x is f32, bf16 or u8; `zero` is the byte
    that stands for 0, and what u8 is padded with.  Computed in float64 and rounded once.
    Raises ShapeError for operands that do not fit.
    """

    name: ClassVar[str] = "depthwise_conv2d"
    stride: Pair = (1, 1)
    pad: Pad = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    zero: int = 0

    def infer(self, x: TensorType, w: TensorType, bias: TensorType | None = None) -> TensorType:
        n, h, width, c = x.dims("NHWC")
        check_dtype(x, (DType.F32, DType.BF16, DType.U8))
        check_dtype(w, (DType.F32,))
        if not 0 <= self.zero <= (LARGEST_BYTE if x.dtype is DType.U8 else 0):
            raise ShapeError(f"expected a zero of 0..{LARGEST_BYTE} for u8, else 0, got {self.zero} for {x.dtype}")
        kh, kw = (fixed(dim, "weight shape") for dim in w.dims("HWC")[:2])
        check_shape("w", w, kh, kw, c)
        if bias is not None:
            check_dtype(bias, (DType.F32,))
        check_shape("bias", bias, c)
        oh, ow = window_counts(h, width, (kh, kw), self.stride, self.pad, self.dilation)
        return TensorType(DType.F32, (n, oh, ow, c))

    def reference(self, x: Array, w: Array, bias: Array | None = None) -> Array:
        with np.errstate(all="ignore"):
            wide = padded(x.astype(np.float64) - self.zero, self.pad)
            view = windows(wide, w.shape[:2], self.stride, self.dilation)
            y: Array = np.einsum("nyxijc,ijc->nyxc", view, w.astype(np.float64))
            return (y if bias is None else y + bias).astype(np.float32)

    def macs(self, types: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        kh, kw, _ = types[1].shape
        return outputs[0].elements * kh * kw
