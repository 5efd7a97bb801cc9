"""Importers of comparisons, of logic and of the choice between two tensors."""

from __future__ import annotations

from collections.abc import Callable

from alula.core.dtype import DType
from alula.frontends.torch.call import Call, Operand, imports
from alula.ir.graph import Value
from alula.ir.op import Op
from alula.ops import logic

Build = Callable[[Call, Value, Value], Value]

COMPARISONS: dict[str, Build] = {
    "eq": lambda call, a, b: call.add(logic.Equal(), a, b),
    "ne": lambda call, a, b: call.add(logic.Not(), call.add(logic.Equal(), a, b)),
    "lt": lambda call, a, b: call.add(logic.Less(), a, b),
    "le": lambda call, a, b: call.add(logic.LessOrEqual(), a, b),
    "gt": lambda call, a, b: call.add(logic.Less(), b, a),
    "ge": lambda call, a, b: call.add(logic.LessOrEqual(), b, a),
}
LOGICAL: dict[str, Op] = {"and": logic.And(), "or": logic.Or(), "xor": logic.Xor()}


def _import_comparison(name: str, build: Build) -> None:
    @imports(f"aten.{name}.Tensor", f"aten.{name}.Scalar")
    def comparison(call: Call, a: Value, b: Operand) -> Value:
        return build(call, a, _alike(call, a, b))


def _alike(call: Call, a: Value, b: Operand) -> Value:
    """b in the element type of a, where PyTorch compares both in that."""
    other = b.type.dtype if isinstance(b, Value) else None
    if other not in (None, a.type.dtype) or (other is None and isinstance(b, float) and not a.type.dtype.is_float):
        call.refuse(f"of {a.type} with {b.type if isinstance(b, Value) else b}")
    return call.operand(b, a.type.dtype)


def _import_logical(name: str, op: Op) -> None:
    @imports(f"aten.logical_{name}.default", f"aten.bitwise_{name}.Tensor")
    def logical(call: Call, a: Value, b: Value) -> Value:
        _check_booleans(call, a, b)
        return call.add(op, a, b)


def _check_booleans(call: Call, *values: Value) -> None:
    if any(value.type.dtype is not DType.BOOL for value in values):
        call.refuse(f"of {' and '.join(str(value.type) for value in values)}")


for _name, _build in COMPARISONS.items():
    _import_comparison(_name, _build)
for _name, _op in LOGICAL.items():
    _import_logical(_name, _op)


@imports("aten.logical_not.default", "aten.bitwise_not.default")
def negation(call: Call, x: Value) -> Value:
    """True where x is false."""
    _check_booleans(call, x)
    return call.add(logic.Not(), x)


@imports("aten.isnan.default")
def is_nan(call: Call, x: Value) -> Value:
    """True where x is no number."""
    return call.add(logic.IsNan(), x)


@imports("aten.where.self", "aten.where.Scalar", "aten.where.ScalarSelf", "aten.where.ScalarOther")
def where(call: Call, condition: Value, a: Operand, b: Operand) -> Value:
    """a where the condition holds, b elsewhere, both in the element type that PyTorch promotes them to."""
    _check_booleans(call, condition)
    dtype = call.type.dtype
    return call.add(logic.Where(), condition, call.operand(a, dtype), call.operand(b, dtype))


@imports("aten.masked_fill.Scalar", "aten.masked_fill.Tensor")
def masked_fill(call: Call, x: Value, mask: Value, number: Operand) -> Value:
    """x, and the number where the mask holds."""
    _check_booleans(call, mask)
    return call.add(logic.Where(), mask, call.operand(number, x.type.dtype), x)
