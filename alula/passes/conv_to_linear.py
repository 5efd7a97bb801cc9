"""Convolutions of one pixel as matrix products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alula.ir.graph import Graph, Node, Value
from alula.ops.conv import Conv2d
from alula.ops.matmul import Linear
from alula.ops.shape import Slice
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class ConvToLinear(RewritePass):
    """conv2d(x, W[o,1,1,c], b)  =>  linear(x, W[o,c], b), for one group and no padding.

    With a stride it takes every so many-th pixel of a slice: rows close together are worth their copy.
    """

    name: ClassVar[str] = "conv-to-linear"
    anchors: ClassVar = (Conv2d,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        weight = node.inputs[1]
        match node.op:
            case Conv2d(stride=stride, pad=(0, 0, 0, 0), groups=1, scale=(), panel=0) if weight.data is not None:
                o, kh, kw, c = weight.data.shape
                if kh == kw == 1:
                    plain = graph.constant(weight.data.reshape(o, c), weight.name)
                    pixels = _every(graph, _every(graph, node.inputs[0], 1, stride[0]), 2, stride[1])
                    return graph.add(Linear(), pixels, plain, *node.inputs[2:])
        return None


def _every(graph: Graph, x: Value, axis: int, step: int) -> Value:
    """Every `step`-th element of an axis."""
    return x if step == 1 else graph.add(Slice(axis, 0, x.type.shape[axis], step), x)
