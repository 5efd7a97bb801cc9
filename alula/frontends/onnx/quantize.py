"""Importers of quantisation: numbers as bytes with a scale, and back."""

from __future__ import annotations

from math import prod

from alula.core.dtype import DType
from alula.frontends.onnx.call import Call, axis_of, imports
from alula.frontends.onnx.conv import conv as float_conv
from alula.frontends.onnx.matmul import matmul as float_matmul
from alula.frontends.onnx.source import DTYPES
from alula.ir.graph import Value
from alula.ops import elementwise as ops
from alula.ops import logic
from alula.ops.shape import Expand

LEVELS = {
    DType.U8: (0, 255),
    DType.I8: (-128, 127),
    DType.U16: (0, 65535),
    DType.I16: (-32768, 32767),
}
LARGEST_EXACT = 1 << 24  # integers below it are float32 numbers
LARGEST_LEVEL = 255


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
    return call.cast(_numbers(call, x, _along(call, x, scale), None if zero is None else _along(call, x, zero)), dtype)


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
    return _levels(call, x, _along(call, x, scale), None if zero is None else _along(call, x, zero), dtype)


def _levels(call: Call, x: Value, scale: Value, zero: Value | None, dtype: DType) -> Value:
    wide = call.add(ops.Div(), call.cast(x, DType.F32), call.cast(scale, DType.F32))
    levels = call.add(logic.Round(), wide)
    if zero is not None:
        levels = call.add(ops.Add(), levels, call.cast(zero, DType.F32))
    low, high = LEVELS[dtype]
    return call.cast(call.add(ops.Clip(low=float(low), high=float(high)), levels), dtype)


def _centred(call: Call, x: Value, zero: Value | None, shape: tuple[int, ...] | None = None) -> Value:
    """x - zero in float32, exact."""
    wide = call.cast(x, DType.F32)
    if zero is None:
        return wide
    placed = call.reshape(zero) if zero.type.elements == 1 else call.reshape(zero, *(shape or zero.type.shape))
    return call.add(ops.Sub(), wide, call.cast(placed, DType.F32))


def _check_exact(call: Call, x: Value, inner: object) -> None:
    if x.type.dtype not in (DType.U8, DType.I8) or not isinstance(inner, int):
        call.refuse(f"of an input {x.type}")
    if inner * LARGEST_LEVEL * LARGEST_LEVEL >= LARGEST_EXACT:
        call.refuse(f"with sums of {inner} products")


def _integer_product(call: Call, a: Value, b: Value, za: Value | None, zb: Value | None) -> Value:
    _check_exact(call, a, a.type.shape[-1])
    rows = (-1, 1)
    left = _centred(call, a, za, _fitting(call, a, za, rows))
    return float_matmul(call, left, _centred(call, b, zb, _fitting(call, b, zb, (1, -1))))


def _fitting(call: Call, x: Value, zero: Value | None, place: tuple[int, int]) -> tuple[int, ...] | None:
    if zero is None or zero.type.elements == 1:
        return None
    if zero.type.rank != 1:
        return call.refuse(f"of {x.type} with a zero point {zero.type}")
    size = zero.type.shape[0]
    return tuple(size if edge == -1 else 1 for edge in place)  # type: ignore[misc]


@imports("MatMulInteger")
def matmul_integer(call: Call, a: Value, b: Value, za: Value | None = None, zb: Value | None = None) -> Value:
    """(a - za) @ (b - zb) in i32, where the sums are so short that float32 holds them."""
    return call.cast(_integer_product(call, a, b, za, zb), DType.I32)


@imports("QLinearMatMul")
def qlinear_matmul(
    call: Call, a: Value, sa: Value, za: Value, b: Value, sb: Value, zb: Value, sy: Value, zy: Value
) -> Value:
    """The product of two quantised matrices, quantised."""
    if any(value.type.elements != 1 for value in (sa, sb, sy)):
        call.refuse("with scales of several elements")
    product = _integer_product(call, a, b, za, zb)
    factors = [call.cast(call.reshape(value), DType.F32) for value in (sa, sb)]
    scaled = call.add(ops.Mul(), product, call.add(ops.Mul(), *factors))
    return _levels(call, scaled, call.reshape(sy), call.reshape(zy), zy.type.dtype)


def _integer_conv(call: Call, x: Value, w: Value, zx: Value | None, zw: Value | None) -> Value:
    sizes = [dim for dim in w.type.shape[1:] if isinstance(dim, int)]
    _check_exact(call, x, prod(sizes))
    per_feature = (w.type.shape[0], *[1] * (w.type.rank - 1))
    return float_conv(call, _centred(call, x, zx), _centred(call, w, zw, per_feature))  # type: ignore[arg-type]


@imports("ConvInteger")
def conv_integer(call: Call, x: Value, w: Value, zx: Value | None = None, zw: Value | None = None) -> Value:
    """The convolution of (x - zx) with (w - zw) in i32, where the sums are so short that float32 holds them."""
    return call.cast(_integer_conv(call, x, w, zx, zw), DType.I32)


@imports("QLinearConv")
def qlinear_conv(
    call: Call,
    x: Value,
    sx: Value,
    zx: Value,
    w: Value,
    sw: Value,
    zw: Value,
    sy: Value,
    zy: Value,
    bias: Value | None = None,
) -> Value:
    """The convolution of quantised numbers, quantised."""
    sums = _integer_conv(call, x, w, zx, zw)
    rows = (1, w.type.shape[0], *[1] * (x.type.rank - 2))
    if bias is not None:
        sums = call.add(ops.Add(), sums, call.cast(call.reshape(bias, *rows), DType.F32))
    scales = call.reshape(sw) if sw.type.elements == 1 else call.reshape(sw, *rows)
    scaled = call.add(ops.Mul(), sums, call.add(ops.Mul(), call.reshape(sx), scales))
    return _levels(call, scaled, call.reshape(sy), call.reshape(zy), zy.type.dtype)
