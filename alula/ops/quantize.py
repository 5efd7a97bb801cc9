"""From float32 to the bytes that integer products take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dtype import Array, DType
from alula.core.errors import ShapeError
from alula.ir.op import Op, register
from alula.ir.types import TensorType
from alula.ops.checks import check_dtype, check_rank

LARGEST_BYTE = 255
MIDDLE = 128  # stands for 0 where bytes are symmetric
STEPS = 127  # on either side of the middle


@register
@dataclass(frozen=True, slots=True)
class Quantize(Op):
    """round(x / scale + zero), ties to even, held within 0..255; 0 for NaN.  x f32 -> u8 of the same shape.

    x is multiplied by the float32 nearest to 1 / scale, and rounded once.  Raises ShapeError unless scale is positive,
    its reciprocal finite, and zero a byte.  Source: ONNX QuantizeLinear-13, which rounds before it adds an odd zero.
    """

    name: ClassVar[str] = "quantize"
    scale: float
    zero: int

    def infer(self, x: TensorType) -> TensorType:
        check_dtype(x, (DType.F32,))
        check_levels(self.scale, self.zero)
        return x.cast(DType.U8)

    @property
    def factor(self) -> float:
        """The float32 that x is multiplied by."""
        return float(np.float32(1 / self.scale))

    def reference(self, x: Array) -> Array:
        with np.errstate(all="ignore"):
            levels = np.rint(x.astype(np.float64) * self.factor + self.zero)
            return np.where(np.isnan(levels), 0, np.clip(levels, 0, LARGEST_BYTE)).astype(np.uint8)


@register
@dataclass(frozen=True, slots=True)
class Dequantize(Op):
    """(x - zero) * scale: what the bytes of `Quantize` with the same attributes stand for.  x u8 -> f32.

    Computed in float64 and rounded.  Source: ONNX DequantizeLinear-13.
    """

    name: ClassVar[str] = "dequantize"
    scale: float
    zero: int

    def infer(self, x: TensorType) -> TensorType:
        check_dtype(x, (DType.U8,))
        check_levels(self.scale, self.zero)
        return x.cast(DType.F32)

    def reference(self, x: Array) -> Array:
        return ((x.astype(np.float64) - self.zero) * float(np.float32(self.scale))).astype(np.float32)


@register
@dataclass(frozen=True, slots=True)
class QuantizeRows(Op):
    """Bytes with a scale and a zero for each row: x[...,c] f32 -> q[...,c] u8, scale[...,1] f32, zero[...,1] f32.

    x is about (q - zero) * scale.  With low = min(x, 0) and high = max(x, 0) over the row, scale = (high - low) / 255,
    zero = round(-low / scale), a whole number, and q = round(x / scale + zero), ties to even; a row of zeros has
    scale 0 and zero 0.  Rows with NaN or infinities mean nothing.
    """

    name: ClassVar[str] = "quantize_rows"

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType, TensorType]:
        check_dtype(x, (DType.F32,))
        check_rank(x, 1)
        one = x.reshaped(*x.shape[:-1], 1)
        return x.cast(DType.U8), one, one

    def reference(self, x: Array) -> tuple[Array, Array, Array]:
        with np.errstate(all="ignore"):
            low, high = x.min(-1, keepdims=True, initial=0), x.max(-1, keepdims=True, initial=0)
            span = (high - low).astype(np.float32)
            factor = np.where(span > 0, np.float32(LARGEST_BYTE) / span, 0).astype(np.float32)
            zero = np.rint(-low.astype(np.float64) * factor) + 0.0  # never -0
            levels = np.rint(x.astype(np.float64) * factor + zero)
            q = np.where(np.isnan(levels), 0, np.clip(levels, 0, LARGEST_BYTE)).astype(np.uint8)
            return q, (span * np.float32(1 / LARGEST_BYTE)).astype(np.float32), zero.astype(np.float32)


def check_levels(scale: float, zero: int) -> None:
    """A scale with a finite reciprocal, and a byte for 0."""
    if not 2.0**-120 <= scale <= 2.0**120 or not 0 <= zero <= LARGEST_BYTE:
        raise ShapeError(f"expected a scale of 2**-120..2**120 and a zero of 0..255, got {scale}, {zero}")
