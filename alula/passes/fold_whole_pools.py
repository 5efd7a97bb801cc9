"""Pools of one window over the whole image as reductions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alula.ir.graph import Graph, Node, Value
from alula.ops.pool import AvgPool2d, MaxPool2d
from alula.ops.reduce import ReduceMax, ReduceMean
from alula.passes.rewrite import RewritePass

IMAGE = (1, 2)  # axes of height and width


@dataclass(frozen=True)
class FoldWholePools(RewritePass):
    """avg_pool2d(x)  =>  reduce_mean(x), max_pool2d(x)  =>  reduce_max(x), where the window is as large as the image.

    It may be larger where it overhangs the image's end (ceil_mode): what lies there does not count.
    """

    name: ClassVar[str] = "fold-whole-pools"
    anchors: ClassVar = (AvgPool2d, MaxPool2d)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        op, (x,) = node.op, node.inputs
        if not isinstance(op, AvgPool2d | MaxPool2d) or any(op.pad):
            return None
        sizes = [x.type.shape[axis] for axis in IMAGE]
        if not all(isinstance(size, int) and size <= edge for size, edge in zip(sizes, op.kernel, strict=True)):
            return None
        reduction = ReduceMean if isinstance(op, AvgPool2d) else ReduceMax
        return graph.add(reduction(axes=IMAGE, keepdims=True), x)
