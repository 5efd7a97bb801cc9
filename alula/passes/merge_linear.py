"""Two linear layers with nothing between them as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dtype import Array
from alula.ir.graph import Graph, Node, Value, sole_producer
from alula.ops.matmul import Linear
from alula.ops.shape import Reshape
from alula.passes.match import exact, rounded
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class MergeLinear(RewritePass):
    """linear(linear(x, V, c), W, b)  =>  linear(x, W V, W c + b), where that takes fewer multiply-adds.

    A reshape between them that leaves the columns alone comes before both then.
    """

    name: ClassVar[str] = "merge-linear"
    anchors: ClassVar = (Linear,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        value = node.inputs[0]
        while view := sole_producer(graph, value, Reshape):
            if view.inputs[0].type.shape[-1:] != value.type.shape[-1:]:
                break
            value = view.inputs[0]
        first = sole_producer(graph, value, Linear)
        inner, outer = _constants(first) if first else None, _constants(node)
        if first is None or inner is None or outer is None:
            return None
        (v, c), (w, b) = inner, outer
        if w.shape[0] * v.shape[1] >= w.size + v.size:
            return None
        dtype = node.output.type.dtype
        constants = [graph.constant(rounded(w @ v, dtype), node.inputs[1].name)]
        if len(first.inputs) + len(node.inputs) > 4:
            constants.append(graph.constant(rounded(w @ c + b, dtype)))
        x, shape = first.inputs[0], (*node.output.type.shape[:-1], v.shape[1])
        return graph.add(Linear(), x if x.type.shape == shape else graph.add(Reshape(shape), x), *constants)


def _constants(layer: Node) -> tuple[Array, Array] | None:
    """Weight [n,k] and bias [n], zeros where there is none, of a linear layer of float constants, in float64."""
    weight, *bias = (exact(operand) for operand in layer.inputs[1:])
    if layer.op != Linear() or weight is None:
        return None
    if not bias:
        return weight, np.zeros(len(weight))
    return None if bias[0] is None else (weight, bias[0])
