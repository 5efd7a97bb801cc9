"""Sums read what is stored for products: the wide tensor beside the narrow one is not needed then."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alula.core.dtype import DType
from alula.ir.graph import Graph, Node, Value
from alula.ir.op import Op
from alula.ops.elementwise import Add, Cast
from alula.ops.quantize import Dequantize, Quantize
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class ReuseNarrow(RewritePass):
    """narrow(x), x + y  =>  narrow(x), widen(narrow(x)) + y, narrow a cast to bf16 or a quantisation.

    Done where x has no other uses than one narrowing and sums.  That is the shortcut of a residual network; the stream
    of a transformer goes through a LayerNorm first and stays as it is.
    """

    name: ClassVar[str] = "reuse-narrow"
    anchors: ClassVar = (Add,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        for position, value in enumerate(node.inputs):
            narrow = _only_narrowing(graph, value)
            if narrow is not None and graph.nodes.index(narrow) < graph.nodes.index(node):
                operands = list(node.inputs)
                operands[position] = graph.add(_widening(narrow.op), narrow.output)
                return graph.add(node.op, *operands)
        return None


def _only_narrowing(graph: Graph, value: Value) -> Node | None:
    """The one node that narrows a value that else only sums take."""
    if value.producer is None or value.type.dtype is not DType.F32:
        return None
    if any(value is output for _, output in graph.outputs):
        return None
    narrowing = [user for user in value.uses if not isinstance(user.op, Add)]
    if len(narrowing) != 1:
        return None
    (node,) = narrowing
    is_cast = isinstance(node.op, Cast) and node.op.dtype is DType.BF16
    return node if is_cast or isinstance(node.op, Quantize) else None


def _widening(op: Op) -> Op:
    return Dequantize(op.scale, op.zero) if isinstance(op, Quantize) else Cast(DType.F32)
