"""Elementwise ops on the elements as they are stored: integers, float64, and choices and casts of any type."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from alula.codegen.vector import Emitter, Vec
from alula.core.dtype import DType
from alula.ir.graph import Node
from alula.ir.op import Op
from alula.ops import elementwise as ops
from alula.ops import logic

Rule = Callable[[Emitter, Any, DType, Sequence[Vec]], Vec]

UNSIGNED = frozenset({DType.U8, DType.U16, DType.U32, DType.U64})
INTEGERS = UNSIGNED | {DType.I8, DType.I16, DType.I32, DType.I64}
ARITHMETIC = INTEGERS | {DType.F64}
ANY = frozenset(DType)
CONVERTED = ARITHMETIC | {DType.F32, DType.F16, DType.BOOL}

FLOATS = {"f32": ir.FloatType(), "f64": ir.DoubleType()}

NATIVE: dict[type[Op], tuple[frozenset[DType], Rule]] = {}


def computes(dtypes: frozenset[DType], *kinds: type[Op]) -> Callable[[Rule], Rule]:
    """Makes `rule(e, op, dtype of the last operand, vectors)` the meaning of these ops for operands of these dtypes."""

    def add(rule: Rule) -> Rule:
        NATIVE.update(dict.fromkeys(kinds, (dtypes, rule)))
        return rule

    return add


def is_native(node: Node) -> bool:
    """True for a node that no kernel of float32 computes and that a rule here does."""
    found = NATIVE.get(type(node.op))
    if found is None:
        return False
    dtypes = [value.type.dtype for value in node.inputs]
    if isinstance(node.op, ops.Cast):
        pair = (dtypes[0], node.op.dtype)
        served = all(dtype in CONVERTED for dtype in pair) and pair != (
            DType.F64,
            DType.F16,
        )  # no instruction rounds it
        return served and not _is_float32_cast(*pair)
    return dtypes[-1] is not DType.F32 and dtypes[-1] in found[0] and (len(dtypes) < 3 or dtypes[0] is DType.BOOL)


def _is_float32_cast(source: DType, target: DType) -> bool:
    """True for the casts that expressions of float32 hold."""
    stored = (DType.F32, DType.BF16, DType.U8, DType.I8, DType.I32, DType.BOOL)
    return DType.F32 in (source, target) and source in stored and target in stored


def emit_native(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    """The op's result for vectors as they are stored; `dtype` is that of the last one."""
    return NATIVE[type(op)][1](e, op, dtype, vectors)


def _compared(e: Emitter, sign: Any, dtype: DType, a: Vec, b: Vec) -> ir.Value:
    """One bit a lane."""
    if a.is_float:
        return e.b.fcmp_ordered(sign, a.value, b.value)
    compare = e.b.icmp_unsigned if dtype in UNSIGNED else e.b.icmp_signed
    return compare(sign, a.value, b.value)


def _as_bytes(e: Emitter, bits: ir.Value) -> Vec:
    return Vec(e, e.b.zext(bits, e.type(DType.U8, bits.type.count)))


@computes(ARITHMETIC, ops.Add)
def _add(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    return vectors[0] + vectors[1]


@computes(ARITHMETIC, ops.Sub)
def _sub(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    return vectors[0] - vectors[1]


@computes(ARITHMETIC, ops.Mul)
def _mul(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    return vectors[0] * vectors[1]


@computes(ARITHMETIC, ops.Div)
def _div(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    a, b = vectors
    if a.is_float:
        return a / b
    # The processor traps at a division by 0, and at one of the least integer by -1.
    if dtype in UNSIGNED:
        return e.choose("==", b, 0, 0, Vec(e, e.b.udiv(a.value, e.choose("==", b, 0, 1, b).value)))
    safe = e.choose("==", b, 0, 1, e.choose("==", b, -1, 1, b))
    quotient = a / safe
    return e.choose("==", b, 0, 0, e.choose("==", b, -1, e.like(a, 0) - a, quotient))


@computes(INTEGERS, ops.Pow)
def _pow(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    power, rest = vectors
    result = e.like(power, 1)
    for bit in range(8 * dtype.bytes):
        odd = Vec(e, e.b.and_(e.b.lshr(rest.value, e.like(rest, bit).value), e.like(rest, 1).value))
        result = e.choose("==", odd, 1, result * power, result)
        power = power * power
    return result if dtype in UNSIGNED else e.choose("<", rest, 0, 0, result)


@computes(INTEGERS, logic.And)
def _and(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    return Vec(e, e.b.and_(vectors[0].value, vectors[1].value))


@computes(INTEGERS, logic.Or)
def _or(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    return Vec(e, e.b.or_(vectors[0].value, vectors[1].value))


@computes(INTEGERS, logic.Xor)
def _xor(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    return Vec(e, e.b.xor(vectors[0].value, vectors[1].value))


@computes(INTEGERS, logic.Not)
def _not(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    return Vec(e, e.b.not_(vectors[0].value))


@computes(INTEGERS, logic.ShiftLeft, logic.ShiftRight)
def _shift(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    a, bits = (vector.value for vector in vectors)
    width = 8 * dtype.bytes
    within = e.b.icmp_unsigned("<", bits, e.like(vectors[1], width).value)
    most = e.b.select(within, bits, e.like(vectors[1], width - 1).value)
    if isinstance(op, logic.ShiftLeft):
        return e.blend(within, Vec(e, e.b.shl(a, most)), 0)
    if dtype in UNSIGNED:
        return e.blend(within, Vec(e, e.b.lshr(a, most)), 0)
    return Vec(e, e.b.ashr(a, most))  # by all bits but one, the sign is all that is left


@computes(frozenset({DType.F64}), ops.Reciprocal)
def _reciprocal(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    return 1.0 / vectors[0]


@computes(frozenset({DType.F64}), ops.Sqrt, logic.Floor, logic.Ceil, logic.Round)
def _intrinsic(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    return e.unary({"sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "round": "roundeven"}[op.name], vectors[0])


@computes(ARITHMETIC, ops.Neg)
def _neg(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    (x,) = vectors
    return -x if x.is_float else e.like(x, 0) - x


@computes(ARITHMETIC, ops.Abs)
def _abs(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    (x,) = vectors
    if x.is_float:
        return e.unary("fabs", x)
    return x if dtype in UNSIGNED else e.choose("<", x, 0, e.like(x, 0) - x, x)


@computes(ARITHMETIC, ops.Relu)
def _relu(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    (x,) = vectors
    return x if dtype in UNSIGNED else e.choose("<", x, 0, e.like(x, 0), x)


@computes(ARITHMETIC, logic.Sign)
def _sign(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    (x,) = vectors
    return e.choose(">", x, 0, e.like(x, 1), e.choose("<", x, 0, e.like(x, -1), x))


@computes(ARITHMETIC, ops.Maximum)
def _maximum(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    a, b = vectors
    larger = Vec(e, e.b.select(_compared(e, ">", dtype, a, b), a.value, b.value))
    return (
        Vec(e, e.b.select(e.b.fcmp_unordered("uno", a.value, a.value), a.value, larger.value)) if a.is_float else larger
    )


@computes(ARITHMETIC, ops.Minimum)
def _minimum(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    a, b = vectors
    less = Vec(e, e.b.select(_compared(e, "<", dtype, a, b), a.value, b.value))
    return Vec(e, e.b.select(e.b.fcmp_unordered("uno", a.value, a.value), a.value, less.value)) if a.is_float else less


@computes(ARITHMETIC, logic.Equal)
def _equal(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    return _as_bytes(e, _compared(e, "==", dtype, *vectors))


@computes(ARITHMETIC, logic.Less)
def _less(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    return _as_bytes(e, _compared(e, "<", dtype, *vectors))


@computes(ARITHMETIC, logic.LessOrEqual)
def _less_or_equal(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    return _as_bytes(e, _compared(e, "<=", dtype, *vectors))


@computes(ANY, logic.Where)
def _where(e: Emitter, op: Op, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    condition, a, b = vectors
    holds = e.b.icmp_signed("!=", condition.value, e.like(condition, 0).value)
    return Vec(e, e.b.select(holds, a.value, b.value))


@computes(ANY, ops.Cast)
def _cast(e: Emitter, op: ops.Cast, dtype: DType, vectors: Sequence[Vec]) -> Vec:
    (x,), target = vectors, op.dtype
    if dtype is DType.F16:
        x, dtype = e.convert(x, "fpext", DType.F32), DType.F32
    if target is DType.BOOL:
        if x.is_float:
            return _as_bytes(e, e.b.fcmp_unordered("!=", x.value, e.like(x, 0.0).value))
        return _as_bytes(e, e.b.icmp_signed("!=", x.value, e.like(x, 0).value))
    signed = dtype not in UNSIGNED and dtype is not DType.BOOL
    if target.is_float:
        if not x.is_float:
            return _to_float(e, x, target, signed=signed)
        return _resized_float(e, x, dtype, target)
    if x.is_float:
        return _to_integer(e, x, target)
    wide, narrow = target.bytes > dtype.bytes, target.bytes < dtype.bytes
    return (
        e.convert(x, "sext" if signed else "zext", target) if wide else e.convert(x, "trunc", target) if narrow else x
    )


def _to_float(e: Emitter, x: Vec, target: DType, *, signed: bool) -> Vec:
    made = e.convert(x, "sitofp" if signed else "uitofp", DType.F32 if target is DType.F16 else target)
    return _halves(e, made) if target is DType.F16 else made


def _resized_float(e: Emitter, x: Vec, dtype: DType, target: DType) -> Vec:
    if target is DType.F16:
        return _halves(e, x)
    return x if dtype is target else e.convert(x, "fpext" if target.bytes > dtype.bytes else "fptrunc", target)


def _halves(e: Emitter, x: Vec) -> Vec:
    """The bits of the nearest float16: halves themselves are for no register that a masked store can take."""
    return e.bitcast(e.convert(x, "fptrunc", DType.F16), DType.U16)


def _to_integer(e: Emitter, x: Vec, target: DType) -> Vec:
    """Truncated; NaN is 0, what 64 bits do not hold the nearest that they do; narrower types keep the lowest bits."""
    kind = "ui" if target is DType.U64 else "si"
    element = next(name for name, type in FLOATS.items() if type == x.value.type.element)
    name = f"llvm.fpto{kind}.sat.v{x.lanes}i64.v{x.lanes}{element}"
    result = Vec(e, e.intrinsic(name, e.type(DType.I64, x.lanes), x.value))
    return result if target.bytes == 8 else e.convert(result, "trunc", target)
