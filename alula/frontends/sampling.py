"""Sampling a picture between its pixels, at places that only a run knows: grids, regions, deformed windows.

Along each axis a place becomes a few taps, indices with weights; the taps of all axes together are the terms of one
`Interpolate`.  Everything before it is elementwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from alula.core.dims import product
from alula.core.dtype import DType
from alula.frontends.call import GraphCall
from alula.ir.graph import Value
from alula.ops import elementwise as ops
from alula.ops import logic
from alula.ops.gather import Interpolate
from alula.ops.shape import Concat, Expand, Slice

CUBIC = -0.75  # the slope of the cubic kernel, in PyTorch and in ONNX


@dataclass(frozen=True, slots=True)
class Taps:
    """Along one axis of `size` elements: whole numbers that may lie outside of it, and weights, all [..., t]."""

    indices: Value
    weights: Value
    size: int


def number(call: GraphCall, value: float) -> Value:
    """A float32 constant."""
    return call.constant(value, DType.F32)


def join(call: GraphCall, parts: Sequence[Value]) -> Value:
    """Taps [..., 1] one after the other."""
    return parts[0] if len(parts) == 1 else call.add(Concat(axis=parts[0].type.rank - 1), *parts)


def nearest(call: GraphCall, at: Value, size: int) -> Taps:
    """The element next to at[..., 1], the even one of two."""
    return Taps(call.add(logic.Round(), at), call.add(Expand(shape=at.type.shape), number(call, 1.0)), size)


def linear(call: GraphCall, at: Value, size: int) -> Taps:
    """The elements on both sides of at[..., 1]."""
    low, high, rest = _sides(call, at)
    return Taps(join(call, [low, high]), join(call, [call.add(ops.Sub(), number(call, 1.0), rest), rest]), size)


def cubic(call: GraphCall, at: Value, size: int) -> Taps:
    """The two elements on each side of at[..., 1].  Source: Keys, cubic convolution interpolation, 1981."""
    low, high, rest = _sides(call, at)
    one = number(call, 1.0)
    other = call.add(ops.Sub(), one, rest)
    outer = [call.add(ops.Add(), distance, one) for distance in (rest, other)]
    weights = [_far(call, outer[0]), _near(call, rest), _near(call, other), _far(call, outer[1])]
    spots = [call.add(ops.Sub(), low, one), low, high, call.add(ops.Add(), high, one)]
    return Taps(join(call, spots), join(call, weights), size)


def _sides(call: GraphCall, at: Value) -> tuple[Value, Value, Value]:
    low = call.add(logic.Floor(), at)
    return low, call.add(ops.Add(), low, number(call, 1.0)), call.add(ops.Sub(), at, low)


def _horner(call: GraphCall, x: Value, coefficients: Sequence[float]) -> Value:
    """A polynomial, highest power first."""
    total = call.add(ops.Mul(), x, number(call, coefficients[0]))
    for coefficient in coefficients[1:-1]:
        total = call.add(ops.Mul(), call.add(ops.Add(), total, number(call, coefficient)), x)
    return call.add(ops.Add(), total, number(call, coefficients[-1]))


def _near(call: GraphCall, distance: Value) -> Value:
    """The cubic kernel up to 1."""
    return _horner(call, distance, (CUBIC + 2, -(CUBIC + 3), 0.0, 1.0))


def _far(call: GraphCall, distance: Value) -> Value:
    """The cubic kernel from 1 to 2."""
    return _horner(call, distance, (CUBIC, -5 * CUBIC, 8 * CUBIC, -4 * CUBIC))


def zeros_outside(call: GraphCall, taps: Taps) -> Taps:
    """The taps with weight 0 for elements that are not there."""
    last = number(call, float(taps.size - 1))
    inside = call.add(logic.LessOrEqual(), number(call, 0.0), taps.indices)
    inside = call.add(logic.And(), inside, call.add(logic.LessOrEqual(), taps.indices, last))
    return Taps(taps.indices, call.add(logic.Where(), inside, taps.weights, number(call, 0.0)), taps.size)


def clamped(call: GraphCall, at: Value, size: int) -> Value:
    """Places within 0..size-1."""
    return call.add(ops.Clip(low=0.0, high=float(size - 1)), at)


def reflected(call: GraphCall, at: Value, size: int, *, centres: bool) -> Value:
    """Places mirrored at the first and the last element's centres, or at their outer edges, until they are inside."""
    low, span = (0.0, float(size - 1)) if centres else (-0.5, float(size))
    if span == 0:
        return clamped(call, at, size)
    away = call.add(ops.Abs(), call.add(ops.Sub(), at, number(call, low)))
    turns = call.add(logic.Floor(), call.add(ops.Mul(), away, number(call, 1 / span)))
    rest = call.add(ops.Sub(), away, call.add(ops.Mul(), turns, number(call, span)))
    halves = call.add(logic.Floor(), call.add(ops.Mul(), turns, number(call, 0.5)))
    odd = call.add(ops.Sub(), turns, call.add(ops.Mul(), halves, number(call, 2.0)))
    back = call.add(ops.Sub(), number(call, span), call.add(ops.Mul(), rest, number(call, 2.0)))
    inside = call.add(ops.Add(), call.add(ops.Add(), rest, call.add(ops.Mul(), odd, back)), number(call, low))
    return clamped(call, inside, size)


def blended(call: GraphCall, x: Value, axes: Sequence[Taps], batch: int, first: Value | None = None) -> Value:
    """Sums over all taps: x[b..., pixels, columns] -> y[b..., places..., columns].

    The taps of the axes, outermost first, broadcast together before their last axis.  `first` is added to the index, an
    i64 like the places with an axis of 1 at the end.
    """
    sizes = [taps.size for taps in axes]
    index, weight = first, None
    for place, taps in enumerate(axes):
        whole = call.cast(clamped(call, taps.indices, taps.size), DType.I64)
        step = call.add(ops.Mul(), whole, call.constant(prod(sizes[place + 1 :]), DType.I64))
        index = step if index is None else _outer(call, ops.Add(), index, step)
        weight = taps.weights if weight is None else _outer(call, ops.Mul(), weight, taps.weights)
    assert index is not None
    assert weight is not None
    return call.add(Interpolate(axis=batch, batch=batch), x, index, weight)


def _outer(call: GraphCall, op: ops.Add | ops.Mul, a: Value, b: Value) -> Value:
    """op of each pair: a[..., s] and b[..., t] -> [..., s * t]."""
    left = call.reshape(a, *a.type.shape, 1)
    right = call.reshape(b, *b.type.shape[:-1], 1, b.type.shape[-1])
    both = call.add(op, left, right)
    *around, s, t = both.type.shape
    return call.reshape(both, *around, s * t)


def pixels_first(call: GraphCall, x: Value) -> Value:
    """y[n,pixels,c] of x[n,c,...]."""
    n, c, *sizes = x.type.shape
    last = call.transpose(x, 0, *range(2, x.type.rank), 1)
    return call.reshape(last, n, product(sizes), c)


def grid_sample(call: GraphCall, x: Value, grid: Value, mode: str, padding: str, *, align: bool) -> Value:
    """x[n,c,sizes...] at grid[n,outs...,axes], whose numbers run from -1 to 1, the innermost axis first.

    mode nearest, linear or cubic; padding zeros, border or reflection.  With `align`, -1 and 1 are the centres of the
    first and last elements, else their outer edges.
    Source: PyTorch's grid_sample, ONNX GridSample-20.
    """
    sizes = [dim for dim in x.type.shape[2:] if isinstance(dim, int) and dim > 0]
    if not 3 <= x.type.rank == grid.type.rank == len(sizes) + 2 or grid.type.shape[-1] != len(sizes):
        call.refuse(f"of an input {x.type} with a grid {grid.type}")
    n, c, *_ = x.type.shape
    outs = grid.type.shape[1:-1]
    flat = call.reshape(grid, n, product(outs), len(sizes))
    axes = []
    for axis, size in enumerate(sizes):
        place = len(sizes) - 1 - axis
        at = _unscaled(call, _column(call, flat, place), size, align=align)
        axes.append(_padded_taps(call, at, size, mode, padding, align=align))
    y = blended(call, pixels_first(call, x), axes, 1)
    return call.transpose(call.reshape(y, n, *outs, c), 0, len(outs) + 1, *range(1, len(outs) + 1))


def _column(call: GraphCall, flat: Value, place: int) -> Value:
    return call.add(Slice(axis=flat.type.rank - 1, start=place, stop=place + 1), flat)


def _unscaled(call: GraphCall, at: Value, size: int, *, align: bool) -> Value:
    """-1..1 as places of elements."""
    half = (size - 1) / 2 if align else size / 2
    return call.add(ops.Add(), call.add(ops.Mul(), at, number(call, half)), number(call, (size - 1) / 2))


def _padded_taps(call: GraphCall, at: Value, size: int, mode: str, padding: str, *, align: bool) -> Taps:
    make = {"nearest": nearest, "linear": linear, "cubic": cubic}[mode]

    def moved(places: Value) -> Value:
        if padding == "border":
            return clamped(call, places, size)
        return reflected(call, places, size, centres=align)

    if padding == "zeros":
        return zeros_outside(call, make(call, at, size))
    if mode != "cubic":
        return make(call, moved(at), size)
    taps = make(call, at, size)
    return Taps(moved(taps.indices), taps.weights, size)
