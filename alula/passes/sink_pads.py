"""Zeros around what is rounded to bytes are 0 afterwards too."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alula.ir.graph import Graph, Node, Value
from alula.ops.quantize import Dequantize, Quantize
from alula.ops.shape import Pad
from alula.passes.match import made_by
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class SinkPads(RewritePass):
    """dequantize(quantize(pad(x)))  =>  pad(dequantize(quantize(x)))   for rows of 0, both having one scale and zero.

    The pad then is where the convolution is that it belongs to.
    """

    name: ClassVar[str] = "sink-pads"
    anchors: ClassVar = (Dequantize,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        narrow = made_by(node.inputs[0], Quantize)
        pad = made_by(narrow.inputs[0], Pad) if narrow else None
        if narrow is None or pad is None or pad.op.value or node.op != Dequantize(narrow.op.scale, narrow.op.zero):  # type: ignore[attr-defined]
            return None
        return graph.add(pad.op, graph.add(node.op, graph.add(narrow.op, pad.inputs[0])))
