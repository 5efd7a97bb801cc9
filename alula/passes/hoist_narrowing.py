"""Narrowing before views: what a kernel makes is then narrowed as it is written, and fewer bytes are moved."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from alula.core.dtype import DType
from alula.ir.graph import Graph, Node, Value
from alula.ops.elementwise import Cast
from alula.ops.pool import MaxPool2d
from alula.ops.quantize import Quantize
from alula.ops.shape import Concat, Reshape, Slice, Transpose
from alula.passes.rewrite import RewritePass

VIEWS = (Reshape, Transpose, Slice, MaxPool2d)  # ops that commute with a rounding that keeps the order


@dataclass(frozen=True)
class HoistNarrowing(RewritePass):
    """narrow(view(x))  =>  view(narrow(x)), narrow a cast to bf16 or a quantisation; the same for a maximum of windows.

    Done only where all uses of x, through whatever views, narrow it in the same way: else x would be computed twice.
    A concatenation is narrowed part by part where it is narrowed in all its uses.
    Not done for a transposed input of the graph: what takes more bytes is turned faster.
    """

    name: ClassVar[str] = "hoist-narrowing"
    anchors: ClassVar = (Cast, Quantize)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        view = node.inputs[0].producer
        if isinstance(node.op, Cast) and node.op.dtype is not DType.BF16:
            return None
        if view is None or not isinstance(view.op, (*VIEWS, Concat)):
            return None
        if isinstance(view.op, Transpose) and view.inputs[0].producer is None:
            return None
        whole = view.output if isinstance(view.op, Concat) else view.inputs[0]
        if any(user is None or user.op != node.op for user in _users(graph, whole)):
            return None
        return graph.add(view.op, *(graph.add(node.op, part) for part in view.inputs))


def _users(graph: Graph, value: Value) -> Iterator[Node | None]:
    """Who takes a value, through any views; None stands for an output of the graph."""
    if any(value is output for _, output in graph.outputs):
        yield None
    for user in dict.fromkeys(value.uses):
        if isinstance(user.op, (*VIEWS, Concat)):
            yield from _users(graph, user.output)
        else:
            yield user
