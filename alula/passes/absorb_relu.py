"""A lower bound of 0 that bytes have anyway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alula.ir.graph import Graph, Node, Value, sole_producer
from alula.ops.elementwise import Relu
from alula.ops.quantize import Quantize
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class AbsorbRelu(RewritePass):
    """quantize(relu(x))  =>  quantize(x)   where the byte 0 stands for 0: what is below becomes 0 all the same."""

    name: ClassVar[str] = "absorb-relu"
    anchors: ClassVar = (Quantize,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        relu = sole_producer(graph, node.inputs[0], Relu)
        if relu is None or node.op != Quantize(node.op.scale, 0):  # type: ignore[attr-defined]
            return None
        return graph.add(node.op, relu.inputs[0])
