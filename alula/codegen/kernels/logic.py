"""Comparisons, logic, choices and steps for one vector of float32; booleans come as 0 and 1 and go as bytes."""

from __future__ import annotations

from alula.codegen.kernels.elementwise import emits
from alula.codegen.vector import Emitter, Vec
from alula.core.dtype import DType
from alula.ops import logic as ops


def _bytes(e: Emitter, sign: str, x: Vec, y: Vec | float, *, swapped: bool = False) -> Vec:
    """1 where x <sign> y, 0 elsewhere; the other way round if `swapped`."""
    yes, no = (Vec(e, e.constant(value, DType.U8).value) for value in ((0, 1) if swapped else (1, 0)))
    return e.choose(sign, x, y, yes, no)


@emits(ops.Equal)
def _equal(e: Emitter, op: ops.Equal, x: Vec, y: Vec) -> Vec:
    return _bytes(e, "==", x, y)


@emits(ops.Less)
def _less(e: Emitter, op: ops.Less, x: Vec, y: Vec) -> Vec:
    return _bytes(e, "<", x, y)


@emits(ops.LessOrEqual)
def _less_or_equal(e: Emitter, op: ops.LessOrEqual, x: Vec, y: Vec) -> Vec:
    return _bytes(e, "<=", x, y)


@emits(ops.And)
def _and(e: Emitter, op: ops.And, x: Vec, y: Vec) -> Vec:
    return _bytes(e, ">", x * y, 0.0)


@emits(ops.Or)
def _or(e: Emitter, op: ops.Or, x: Vec, y: Vec) -> Vec:
    return _bytes(e, ">", x + y, 0.0)


@emits(ops.Xor)
def _xor(e: Emitter, op: ops.Xor, x: Vec, y: Vec) -> Vec:
    return _bytes(e, "==", x, y, swapped=True)


@emits(ops.Not)
def _not(e: Emitter, op: ops.Not, x: Vec) -> Vec:
    return _bytes(e, "==", x, 0.0)


@emits(ops.IsNan)
def _is_nan(e: Emitter, op: ops.IsNan, x: Vec) -> Vec:
    return _bytes(e, "==", x, x, swapped=True)  # only a NaN is not equal to itself


@emits(ops.Where)
def _where(e: Emitter, op: ops.Where, condition: Vec, x: Vec, y: Vec) -> Vec:
    return e.choose("==", condition, 0.0, y, x)


@emits(ops.Floor)
def _floor(e: Emitter, op: ops.Floor, x: Vec) -> Vec:
    return e.unary("floor", x)


@emits(ops.Ceil)
def _ceil(e: Emitter, op: ops.Ceil, x: Vec) -> Vec:
    return e.unary("ceil", x)


@emits(ops.Round)
def _round(e: Emitter, op: ops.Round, x: Vec) -> Vec:
    return e.unary("roundeven", x)


@emits(ops.Sign)
def _sign(e: Emitter, op: ops.Sign, x: Vec) -> Vec:
    zero = e.choose("<", x, 0.0, -1.0, x)
    return e.choose(">", x, 0.0, 1.0, zero)
