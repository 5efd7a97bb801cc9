"""Importers of quantisation: numbers as bytes with a scale, and back.

Where scale and zero are one known number each, these are our ops, whose products passes compute in bytes; signed bytes
are held as unsigned ones that are 128 larger.  All other forms are computed in float32, and so is the rounding of what
the model is given, for there our op, which multiplies where ONNX divides, often comes to another level.
"""

from __future__ import annotations

from dataclasses import dataclass

from alula.core.dtype import DType, cast_array
from alula.frontends.onnx.call import Call, axis_of, imports
from alula.frontends.onnx.source import DTYPES
from alula.ir.graph import Value
from alula.ops import elementwise as ops
from alula.ops import logic
from alula.ops.quantize import MIDDLE, Dequantize, Quantize
from alula.ops.shape import Expand, Pad, Reshape, Slice, Transpose

LEVELS = {
    DType.U8: (0, 255),
    DType.I8: (-128, 127),
    DType.U16: (0, 65535),
    DType.I16: (-32768, 32767),
}
OFFSETS = {DType.U8: 0, DType.I8: MIDDLE}  # of the unsigned bytes that hold a type's
LEAST_SCALE = 2.0**-120
MOVED = (Pad, Reshape, Slice, Transpose)
UNSIGNED = "unsigned"


@dataclass(frozen=True, slots=True)
class Levels:
    """What unsigned bytes stand for: (q - zero) * scale."""

    scale: float
    zero: int

    @classmethod
    def known(cls, dtype: DType, scale: Value, zero: Value | None) -> Levels | None:
        """Those of bytes of this type with one scale and zero that are constant; None for others."""
        numbers = [value.data for value in (scale, zero) if value is not None]
        if dtype not in OFFSETS or any(data is None or data.size != 1 for data in numbers):
            return None
        step, *rest = (float(cast_array(data, DType.F64).item()) for data in numbers if data is not None)
        return cls(step, int(sum(rest)) + OFFSETS[dtype]) if LEAST_SCALE <= step <= 1 / LEAST_SCALE else None


def _along(call: Call, x: Value, scale: Value) -> Value:
    """A scale or zero point of one element, of one an element of an axis, or of one a block of it, to go with x."""
    axis, block = call.get("axis", 1), call.get("block_size", 0)
    if scale.type.elements == 1:
        return call.reshape(scale)
    place = axis_of(call, axis, x.type.rank)
    if not block:
        if scale.type.rank != 1 or scale.type.shape[0] != x.type.shape[place]:
            call.refuse(f"of {x.type} with a scale {scale.type}")
        return call.reshape(scale, *(scale.type.shape[0] if n == place else 1 for n in range(x.type.rank)))
    size, count = x.type.shape[place], scale.type.shape[place] if scale.type.rank == x.type.rank else None
    if not isinstance(size, int) or not isinstance(count, int) or count * block != size:
        call.refuse(f"of {x.type} in blocks of {block} with a scale {scale.type}")
    before, after = scale.type.shape[:place], scale.type.shape[place + 1 :]
    wide = call.add(Expand(shape=(*before, count, block, *after)), call.reshape(scale, *before, count, 1, *after))
    return call.reshape(wide, *before, size, *after)


@imports("DequantizeLinear")
def dequantize(call: Call, x: Value, scale: Value, zero: Value | None = None) -> Value:
    """(x - zero) * scale, in the dtype of the scale."""
    if x.type.dtype not in LEVELS and x.type.dtype is not DType.I32:
        call.refuse(f"of {x.type.dtype}")
    out = call.get("output_dtype", 0)
    dtype = DTYPES.get(out, scale.type.dtype) if out else scale.type.dtype
    levels = None if x.is_constant else Levels.known(x.type.dtype, scale, zero)
    scale, zero = _along(call, x, scale), None if zero is None else _along(call, x, zero)
    return call.cast(_numbers(call, x, scale, zero) if levels is None else from_bytes(call, x, levels), dtype)


def _numbers(call: Call, x: Value, scale: Value, zero: Value | None) -> Value:
    """(x - zero) * scale in float32."""
    wide = call.cast(x, DType.F32)
    if zero is not None:
        wide = call.add(ops.Sub(), wide, call.cast(zero, DType.F32))
    return call.add(ops.Mul(), wide, call.cast(scale, DType.F32))


@imports("QuantizeLinear")
def quantize(call: Call, x: Value, scale: Value, zero: Value | None = None) -> Value:
    """round(x / scale) + zero, ties to even, held within what the result's type has."""
    call.get("saturate", 1)
    call.get("precision", 0)
    code = call.get("output_dtype", 0)
    dtype = zero.type.dtype if zero is not None else DTYPES.get(code, DType.U8) if code else DType.U8
    if dtype not in LEVELS:
        call.refuse(f"to {dtype}")
    levels = None if _as_given(x) or x.type.dtype is not DType.F32 else Levels.known(dtype, scale, zero)
    scale, zero = _along(call, x, scale), None if zero is None else _along(call, x, zero)
    return to_levels(call, x, scale, zero, dtype) if levels is None else to_bytes(call, x, levels, dtype)


def _as_given(x: Value) -> bool:
    """Whether x is a constant or an input of the model as it is: pixels may lie exactly between two levels."""
    while x.producer is not None and isinstance(x.producer.op, MOVED):
        x = x.producer.inputs[0]
    return x.producer is None


def to_levels(call: Call, x: Value, scale: Value, zero: Value | None, dtype: DType) -> Value:
    """x in steps of `scale` around `zero`, as ONNX rounds them."""
    wide = call.add(ops.Div(), call.cast(x, DType.F32), call.cast(scale, DType.F32))
    levels = call.add(logic.Round(), wide)
    if zero is not None:
        levels = call.add(ops.Add(), levels, call.cast(zero, DType.F32))
    low, high = LEVELS[dtype]
    return call.cast(call.add(ops.Clip(low=float(low), high=float(high)), levels), dtype)


def to_bytes(call: Call, x: Value, levels: Levels, dtype: DType) -> Value:
    """x f32 in bytes; for signed ones it is remembered which unsigned hold them."""
    held = call.add(Quantize(levels.scale, levels.zero), x)
    if dtype is DType.U8:
        return held
    signed = call.cast(call.add(ops.Sub(), call.cast(held, DType.F32), call.constant(MIDDLE, DType.F32)), DType.I8)
    call.views[signed, UNSIGNED] = held
    return signed


def from_bytes(call: Call, x: Value, levels: Levels) -> Value:
    """What bytes stand for, in float32."""
    return call.add(Dequantize(levels.scale, levels.zero), unsigned(call, x))


def unsigned(call: Call, x: Value) -> Value:
    """The unsigned bytes that hold x, u8 or i8."""
    if x.type.dtype is DType.U8:
        return x
    if (x, UNSIGNED) not in call.views:
        shifted = call.add(ops.Add(), call.cast(x, DType.F32), call.constant(MIDDLE, DType.F32))
        call.views[x, UNSIGNED] = call.cast(shifted, DType.U8)
    return call.views[x, UNSIGNED]
