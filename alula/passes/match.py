"""What patterns ask of values: constants as numbers, scalings, and what lies behind views."""

from __future__ import annotations

from typing import TypeVar

import numpy as np

from alula.core.dtype import Array, DType, cast_array
from alula.ir.graph import Node, Value
from alula.ir.op import Op
from alula.ops.elementwise import Cast, Div, Mul, Unary
from alula.ops.quantize import Dequantize, Quantize
from alula.passes.views import View, view_of_node

POINTWISE = (Unary, Cast, Quantize, Dequantize)  # ops of one operand whose elements they map one by one
TOLERANCE = 1e-6  # between a float32 constant of a model and the number that it stands for

O = TypeVar("O", bound=Op)  # noqa: E741


def scalar(value: Value) -> float | None:
    """The only element of a floating-point constant; None for other values."""
    if value.data is None or value.data.size != 1 or not value.type.dtype.is_float:
        return None
    return float(cast_array(value.data.reshape(1), DType.F64)[0])


def exact(value: Value) -> Array | None:
    """A floating-point constant's elements in float64; None for other values."""
    return cast_array(value.data, DType.F64) if value.data is not None and value.type.dtype.is_float else None


def near(value: float | None, wanted: float) -> bool:
    """True where a model's constant stands for the number `wanted`."""
    return value is not None and abs(value - wanted) <= TOLERANCE * abs(wanted)


def made_by(value: Value, *ops: type[Op]) -> Node | None:
    """The node that makes `value`, where it applies one of `ops`."""
    node = value.producer
    return node if node is not None and isinstance(node.op, ops) else None


def operand_and_constant(node: Node) -> tuple[Value, Value] | None:
    """Of a binary node: the operand that gives the result its shape, and the constant one, in this order."""
    first, second = node.inputs
    for value, constant in ((first, second), (second, first)):
        if constant.is_constant and not value.is_constant and value.type == node.output.type:
            return value, constant
    return None


def scaled(node: Node | None) -> tuple[Value, float] | None:
    """x and s of a node that is x * s, s * x or x / s with a constant scalar s; None for other nodes."""
    if node is None or not isinstance(node.op, Mul | Div):
        return None
    found = operand_and_constant(node)
    factor = scalar(found[1]) if found else None
    if found is None or factor is None or factor == 0:
        return None
    if isinstance(node.op, Mul):
        return found[0], factor
    return (found[0], 1 / factor) if found[0] is node.inputs[0] else None


def behind(value: Value, *, scales: bool = False) -> tuple[Value, View, float]:
    """What `value` is a view of, the view, and the scalar that it was multiplied by on the way (if `scales`)."""
    view, factor = View.identity(value.type.shape), 1.0
    while True:
        if (step := view_of_node(value.producer)) is not None:
            longer = step.then(view)
            if longer is None or value.producer is None:
                return value, view, factor
            value, view = value.producer.inputs[0], longer
        elif scales and (found := scaled(value.producer)) is not None:
            value, factor = found[0], factor * found[1]
        else:
            return value, view, factor


def rounded(values: Array, dtype: DType) -> Array:
    """float64 results as a constant's elements, rounded once."""
    return np.require(cast_array(np.asarray(values, np.float64), dtype), requirements="C")
