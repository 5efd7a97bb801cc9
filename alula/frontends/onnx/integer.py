"""Importers of products of bytes: exact sums in i32, and products that are quantised themselves.

Weights that are constant come back as our products of bytes.  Where both operands are computed, float32 holds the sums
as long as they are short.
"""

from __future__ import annotations

from math import prod

import numpy as np

from alula.core.dims import Dim
from alula.core.dtype import Array, DType
from alula.frontends.onnx.call import Call, imports
from alula.frontends.onnx.conv import conv as float_conv
from alula.frontends.onnx.matmul import matmul as float_matmul
from alula.frontends.onnx.quantize import OFFSETS, Levels, from_bytes, to_bytes, to_levels, unsigned
from alula.ir.graph import Value
from alula.ops import elementwise as ops
from alula.ops.matmul import Linear
from alula.ops.words import whole_words

LARGEST_EXACT = 1 << 24  # integers below it are float32 numbers
LARGEST_LEVEL = 255


@imports("MatMulInteger")
def matmul_integer(call: Call, a: Value, b: Value, za: Value | None = None, zb: Value | None = None) -> Value:
    """(a - za) @ (b - zb) in i32; where b is no constant the sums have to be so short that float32 holds them."""
    levels = _signed_weight(b, zb, (1, -1))
    if levels is None or levels.ndim != 2 or not _one_zero(a, za) or not whole_words(levels.T.shape, 1, DType.I8):
        return call.cast(_integer_product(call, a, b, za, zb), DType.I32)
    stored = call.constant(np.ascontiguousarray(levels.T), DType.I8)
    total = call.add(Linear(), unsigned(call, a), stored)
    sums = call.constant(levels.sum(axis=0, dtype=np.int64), DType.I32)
    return call.add(ops.Sub(), total, call.add(ops.Mul(), _held_zero(call, a, za), sums))


def _signed_weight(weight: Value, zero: Value | None, place: tuple[int, ...]) -> Array | None:
    """weight - zero as i8, where it is constant and fits; a vector of zeros goes to the axis of -1 in `place`."""
    if weight.data is None or (zero is not None and zero.data is None):
        return None
    less = 0 if zero is None or zero.data is None else zero.data.astype(np.int64)
    if np.ndim(less) == 1:
        less = np.reshape(less, place)
    centred = weight.data.astype(np.int64) - less
    return centred.astype(np.int8) if centred.size and centred.min() >= -128 and centred.max() <= 127 else None


def _one_zero(x: Value, zero: Value | None) -> bool:
    return x.type.dtype in OFFSETS and (zero is None or zero.type.elements == 1)


def _held_zero(call: Call, x: Value, zero: Value | None) -> Value:
    """The zero of the unsigned bytes that hold x, in i32."""
    offset = call.constant(OFFSETS[x.type.dtype], DType.I32)
    return offset if zero is None else call.add(ops.Add(), call.cast(call.reshape(zero), DType.I32), offset)


def _centred(call: Call, x: Value, zero: Value | None, shape: tuple[Dim, ...] | None = None) -> Value:
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


@imports("QLinearMatMul")
def qlinear_matmul(
    call: Call, a: Value, sa: Value, za: Value, b: Value, sb: Value, zb: Value, sy: Value, zy: Value
) -> Value:
    """The product of two quantised matrices, quantised."""
    out = Levels.known(zy.type.dtype, sy, zy)
    if out is not None and all(_is_known(*operand) for operand in ((a, sa, za), (b, sb, zb))):
        product = float_matmul(call, numbers(call, a, sa, za, ()), numbers(call, b, sb, zb, (1, -1)))
        return to_bytes(call, product, out, zy.type.dtype)
    if any(value.type.elements != 1 for value in (sa, sb, sy)):
        call.refuse("with scales of several elements")
    product = _integer_product(call, a, b, za, zb)
    factors = [call.cast(call.reshape(value), DType.F32) for value in (sa, sb)]
    scaled = call.add(ops.Mul(), product, call.add(ops.Mul(), *factors))
    return to_levels(call, scaled, call.reshape(sy), call.reshape(zy), zy.type.dtype)


def _is_known(x: Value, scale: Value, zero: Value) -> bool:
    """Whether what x stands for is known but for its elements, or altogether."""
    return (x.is_constant and scale.is_constant and zero.is_constant) or Levels.known(
        x.type.dtype, scale, zero
    ) is not None


def numbers(call: Call, x: Value, scale: Value, zero: Value, place: tuple[int, ...]) -> Value:
    """What x stands for, in float32; several scales of a constant go to the axis of -1 in `place`."""
    levels = None if x.is_constant else Levels.known(x.type.dtype, scale, zero)
    if levels is not None:
        return from_bytes(call, x, levels)
    count = scale.type.elements
    spread = tuple(count if edge == -1 else edge for edge in place) if count != 1 else ()
    return call.add(ops.Mul(), _centred(call, x, zero, spread), call.reshape(scale, *spread))


@imports("ConvInteger")
def conv_integer(call: Call, x: Value, w: Value, zx: Value | None = None, zw: Value | None = None) -> Value:
    """The convolution of (x - zx) with (w - zw) in i32; weights and short sums as for MatMulInteger."""
    o, c, *kernel = w.type.shape
    levels = _signed_weight(w, zw, (-1, *[1] * (w.type.rank - 1)))
    if levels is None or not _one_zero(x, zx) or not whole_words((o, *kernel, c), call.get("group", 1), DType.I8):
        return call.cast(_integer_conv(call, x, w, zx, zw), DType.I32)
    stored = call.constant(levels, DType.I8)
    sums = float_conv(call, call.constant(np.ones((1, *x.type.shape[1:])), DType.U8), stored)
    total = float_conv(call, unsigned(call, x), stored)
    return call.add(ops.Sub(), total, call.add(ops.Mul(), _held_zero(call, x, zx), sums))


def _integer_conv(call: Call, x: Value, w: Value, zx: Value | None, zw: Value | None) -> Value:
    sizes = [dim for dim in w.type.shape[1:] if isinstance(dim, int)]
    _check_exact(call, x, prod(sizes))
    per_feature = (w.type.shape[0], *[1] * (w.type.rank - 1))
    return float_conv(call, _centred(call, x, zx), _centred(call, w, zw, per_feature))


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
    taken, out = Levels.known(x.type.dtype, sx, zx), Levels.known(zy.type.dtype, sy, zy)
    if taken is not None and out is not None and w.is_constant and (bias is None or bias.is_constant):
        weight = numbers(call, w, sw, zw, (-1, *[1] * (w.type.rank - 1)))
        steps = call.add(ops.Mul(), call.reshape(sx), call.reshape(sw) if sw.type.elements == 1 else sw)
        added = [] if bias is None else [call.add(ops.Mul(), call.cast(bias, DType.F32), steps)]
        return to_bytes(call, float_conv(call, from_bytes(call, x, taken), weight, *added), out, zy.type.dtype)
    sums = _integer_conv(call, x, w, zx, zw)
    rows = (1, w.type.shape[0], *[1] * (x.type.rank - 2))
    if bias is not None:
        sums = call.add(ops.Add(), sums, call.cast(call.reshape(bias, *rows), DType.F32))
    scales = call.reshape(sw) if sw.type.elements == 1 else call.reshape(sw, *rows)
    scaled = call.add(ops.Mul(), sums, call.add(ops.Mul(), call.reshape(sx), scales))
    return to_levels(call, scaled, call.reshape(sy), call.reshape(zy), zy.type.dtype)
