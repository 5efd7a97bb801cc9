"""Reshapes after the ops that treat every element alike."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alula.ir.graph import Graph, Node, Value
from alula.ops.elementwise import Binary
from alula.ops.shape import Reshape
from alula.passes.match import POINTWISE, made_by, operand_and_constant
from alula.passes.rewrite import RewritePass
from alula.passes.views import View


@dataclass(frozen=True)
class SinkReshapes(RewritePass):
    """op(reshape(x))  =>  reshape(op(x)), op elementwise: so it stands beside what made x, and reshapes cancel.

    The other operand of a binary op must be a scalar, a constant per element of a last axis that stays as it is, or the
    same reshape of as many elements.
    """

    name: ClassVar[str] = "sink-reshapes"
    anchors: ClassVar = (*POINTWISE, Binary)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        if isinstance(node.op, Binary) and (pair := _alike(node)) is not None:
            return graph.add(Reshape(node.inputs[0].type.shape), graph.add(node.op, *pair))
        found = operand_and_constant(node) if isinstance(node.op, Binary) else (node.inputs[0], None)
        reshape = made_by(found[0], Reshape) if found else None
        if found is None or reshape is None:
            return None
        (value, constant), operands = found, reshape.inputs
        if constant is not None:
            flat = _without_rows(graph, constant, reshape.inputs[0], value)
            if flat is None:
                return None
            operands = tuple(flat if operand is constant else reshape.inputs[0] for operand in node.inputs)
        return graph.add(Reshape(value.type.shape), graph.add(node.op, *operands))


def _alike(node: Node) -> tuple[Value, Value] | None:
    """Both operands before they were reshaped, of one shape to one shape; None where they are not."""
    left, right = (made_by(value, Reshape) for value in node.inputs)
    if left is None or right is None or node.inputs[0].type.shape != node.inputs[1].type.shape:
        return None
    pair = left.inputs[0], right.inputs[0]
    return pair if pair[0].type.shape == pair[1].type.shape else None


def _without_rows(graph: Graph, constant: Value, x: Value, value: Value) -> Value | None:
    """The constant as a vector that broadcasts to x as it did to `value`, a reshape of x; None where it cannot."""
    if constant.data is None:
        return None
    data = constant.data
    if data.size == 1:
        return constant if data.ndim == 0 else graph.constant(data.reshape(()), constant.name)
    if not data.ndim or data.shape[-1] != data.size:
        return None
    view = View.identity(x.type.shape).reshaped(value.type.shape)
    if not x.type.rank or not view.keeps_axis(x.type.rank - 1, value.type.rank - 1):
        return None
    return constant if data.ndim == 1 else graph.constant(data.reshape(-1), constant.name)
