"""The linear layers of q, k and v as one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dtype import Array
from alula.ir.graph import Graph, Node, Value, sole_producer
from alula.ops.attention import Attention
from alula.ops.matmul import Linear
from alula.ops.shape import Slice
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class MergeProjections(RewritePass):
    """attention(linear(x, Q), linear(x, K), linear(x, V))  =>  attention of the columns of linear(x, [Q; K; V]).

    One pass over x in place of three.  Also where only two of them share their x.
    """

    name: ClassVar[str] = "merge-projections"
    anchors: ClassVar = (Attention,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        layers = [_projection(graph, value) for value in node.inputs[:3]]
        shared: dict[Value, list[Node]] = {}
        for layer in layers:
            if layer is not None:
                shared.setdefault(layer.inputs[0], []).append(layer)
        x, merged = max(shared.items(), key=lambda item: len(item[1]), default=(node.inputs[0], []))
        if len(merged) < 2:
            return None
        weights = [(layer.inputs[1].data, _bias(layer)) for layer in merged]
        rows = np.concatenate([weight for weight, _ in weights if weight is not None])
        constants = [graph.constant(rows, merged[0].inputs[1].name)]
        if any(len(layer.inputs) > 2 for layer in merged):
            constants.append(graph.constant(np.concatenate([bias for _, bias in weights])))
        whole = graph.add(Linear(), x, *constants)
        axis, start, parts = whole.type.rank - 1, 0, dict[Value, Value]()
        for layer, (_, bias) in zip(merged, weights, strict=True):
            parts[layer.output] = graph.add(Slice(axis, start, start + len(bias)), whole)
            start += len(bias)
        return graph.add(node.op, *(parts.get(value, value) for value in node.inputs))


def _projection(graph: Graph, value: Value) -> Node | None:
    """The linear layer with constants that makes `value` for this attention alone."""
    node = sole_producer(graph, value, Linear)
    if node is None or node.op != Linear() or not all(operand.is_constant for operand in node.inputs[1:]):
        return None
    return node


def _bias(layer: Node) -> Array:
    """The layer's bias; zeros where it has none."""
    weight, *bias = (operand.data for operand in layer.inputs[1:])
    if bias and bias[0] is not None:
        return bias[0]
    return np.zeros(layer.output.type.shape[-1:], layer.output.type.dtype.numpy if weight is None else weight.dtype)  # type: ignore[arg-type]
