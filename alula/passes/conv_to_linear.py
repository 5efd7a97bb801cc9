"""Convolutions of one pixel as matrix products."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alula.ir.graph import Graph, Node, Value
from alula.ops.conv import Conv2d
from alula.ops.matmul import Linear
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class ConvToLinear(RewritePass):
    """conv2d(x, W[o,1,1,c], b)  =>  linear(x, W[o,c], b), for stride 1, one group and no padding."""

    name: ClassVar[str] = "conv-to-linear"
    anchors: ClassVar = (Conv2d,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        weight = node.inputs[1]
        match node.op:
            case Conv2d(stride=(1, 1), pad=(0, 0, 0, 0), groups=1, scale=(), panel=0) if weight.data is not None:
                o, kh, kw, c = weight.data.shape
                if kh == kw == 1:
                    plain = graph.constant(weight.data.reshape(o, c), weight.name)
                    return graph.add(Linear(), node.inputs[0], plain, *node.inputs[2:])
        return None
