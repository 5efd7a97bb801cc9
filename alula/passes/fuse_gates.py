"""Gated activations that exporters take apart, as one op."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.ir.graph import Graph, Node, Value
from alula.ir.op import Op
from alula.ops.elementwise import Add, Clip, Div, HardSigmoid, HardSwish, Mul, Sigmoid, Silu
from alula.passes.match import made_by, near, operand_and_constant, rounded, scalar, scaled
from alula.passes.rewrite import RewritePass

GATED: dict[type[Op], Op] = {Sigmoid: Silu(), HardSigmoid: HardSwish()}


@dataclass(frozen=True)
class FuseGates(RewritePass):
    """x * sigmoid(x)  =>  silu(x);  x * hard_sigmoid(x)  =>  hard_swish(x);  clip(x + 3, 0, 6) / 6 is hard_sigmoid(x).

    So the activation joins the epilogue of what makes x, which nothing else has to store.  The sixth may also stand
    after the product with x.  And x * sigmoid(s x)  =>  silu(s x) / s, whose factors layers around it can take.
    """

    name: ClassVar[str] = "fuse-gates"
    anchors: ClassVar = (Mul, Div)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        found = scaled(node)
        if found is not None and near(found[1], 1 / 6):
            return _sixth(graph, found[0])
        if isinstance(node.op, Mul):
            for x, other in (node.inputs, node.inputs[::-1]):
                gate = made_by(other, *GATED)
                if gate is not None and gate.inputs[0] is x:
                    return graph.add(GATED[type(gate.op)], x)
                if gate is not None and isinstance(gate.op, Sigmoid) and (steep := _steeper(gate.inputs[0], x)):
                    return graph.add(Mul(), graph.add(Silu(), gate.inputs[0]), _number(graph, 1 / steep, x))
        return None


def _steeper(value: Value, x: Value) -> float | None:
    """s where `value` is x * s."""
    found = scaled(value.producer)
    return found[1] if found is not None and found[0] is x else None


def _number(graph: Graph, number: float, like: Value) -> Value:
    return graph.constant(rounded(np.asarray(number), like.type.dtype))


def _sixth(graph: Graph, value: Value) -> Value | None:
    """hard_sigmoid(x) or hard_swish(x) for six times that."""
    if (x := _six_gates(value)) is not None:
        return graph.add(HardSigmoid(), x)
    product = made_by(value, Mul)
    if product is not None:
        for x, other in (product.inputs, product.inputs[::-1]):
            if _six_gates(other) is x:
                return graph.add(HardSwish(), x)
    return None


def _six_gates(value: Value) -> Value | None:
    """x of clip(x + 3, 0, 6)."""
    clip = made_by(value, Clip)
    moved = made_by(clip.inputs[0], Add) if clip is not None and clip.op == Clip(0.0, 6.0) else None
    operands = operand_and_constant(moved) if moved is not None else None
    return operands[0] if operands is not None and near(scalar(operands[1]), 3) else None
