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

LARGEST_WORD_SUM = 256  # products of u8 and i16 that certainly fit 32 bits together: 255 * 32,768 * 256 < 2**31


@register
@dataclass(frozen=True, slots=True)
class DepthwiseConv2d(Op):
    """Cross-correlation of each channel with a kernel of its own.

    x[n,h,w,c], w[kh,kw,c], bias f32[c] or none -> [n,oh,ow,c].  x f32 or bf16 is padded with 0; w is f32 then, and so
    is the result, computed in float64 and rounded once.  x u8 is padded with `zero`, the byte that stands for 0; w is
    i16 then, without bias, and the result is exact in i32.
    With `taps` = kh > 0 a weight of i16 is packed, w[kh+1,kw,c,2]: each weight after the one above it, and 0 above the
    first and below the last.  Raises ShapeError for operands that do not fit.
    """

    name: ClassVar[str] = "depthwise_conv2d"
    stride: Pair = (1, 1)
    pad: Pad = (0, 0, 0, 0)
    dilation: Pair = (1, 1)
    zero: int = 0
    taps: int = 0

    def infer(self, x: TensorType, w: TensorType, bias: TensorType | None = None) -> TensorType:
        n, h, width, c = x.dims("NHWC")
        check_dtype(x, (DType.F32, DType.BF16, DType.U8))
        bytes = x.dtype is DType.U8
        check_dtype(w, (DType.I16 if bytes else DType.F32,))
        if not 0 <= self.zero <= (LARGEST_BYTE if bytes else 0):
            raise ShapeError(f"expected a zero of 0..{LARGEST_BYTE} for u8, else 0, got {self.zero} for {x.dtype}")
        if self.taps and not bytes:
            raise ShapeError(f"expected a packed weight for u8 alone, got one for {x.dtype}")
        kh, kw = self.kernel(w)
        if self.taps:
            check_shape("packed w", w, kh + 1, kw, c, 2)
        else:
            check_shape("w", w, kh, kw, c)
        if bytes and not fits_words((kh, kw)):
            raise ShapeError(f"expected at most {LARGEST_WORD_SUM} products of words in a sum, got {kh * kw}")
        if bytes and bias is not None:
            raise ShapeError(f"expected no bias for u8, got {bias}")
        if bias is not None:
            check_dtype(bias, (DType.F32,))
        check_shape("bias", bias, c)
        oh, ow = window_counts(h, width, (kh, kw), self.stride, self.pad, self.dilation)
        return TensorType(DType.I32 if bytes else DType.F32, (n, oh, ow, c))

    def kernel(self, w: TensorType) -> tuple[int, int]:
        """(height, width) of the kernel whose weight has a type, packed or not."""
        kh, kw = (fixed(dim, "weight shape") for dim in w.dims("HWCG" if self.taps else "HWC")[:2])
        return self.taps or kh, kw

    def reference(self, x: Array, w: Array, bias: Array | None = None) -> Array:
        plain = w[1:, ..., 0] if self.taps else w
        with np.errstate(all="ignore"):
            wide = padded(x.astype(np.float64), self.pad, self.zero)
            view = windows(wide, plain.shape[:2], self.stride, self.dilation)
            y: Array = np.einsum("nyxijc,ijc->nyxc", view, plain.astype(np.float64))
            return (y if bias is None else y + bias).astype(np.int32 if x.dtype == np.uint8 else np.float32)

    def macs(self, types: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        kh, kw = self.kernel(types[1])
        return outputs[0].elements * kh * kw


def fits_words(kernel: tuple[int, ...]) -> bool:
    """True where sums of bytes times words over a kernel certainly fit 32 bits."""
    return kernel[0] * kernel[1] <= LARGEST_WORD_SUM


def packed_taps(w: Array) -> Array:
    """A weight w[kh,kw,c] of i16 as the op's packed one."""
    padded = np.pad(w, ((1, 1), (0, 0), (0, 0)))
    return np.stack([padded[:-1], padded[1:]], axis=-1)
