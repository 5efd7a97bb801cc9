"""Bytes that were only looked at as numbers stay bytes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alula.ir.graph import Graph, Node, Value
from alula.ops.quantize import Dequantize, Quantize
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class RemoveRequantisation(RewritePass):
    """quantize(dequantize(q))  =>  q   where both have the same scale and zero."""

    name: ClassVar[str] = "remove-requantisation"
    anchors: ClassVar = (Quantize,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        made, op = node.inputs[0].producer, node.op
        assert isinstance(op, Quantize)
        same = made is not None and made.op == Dequantize(op.scale, op.zero)
        return made.inputs[0] if same and made is not None else None
