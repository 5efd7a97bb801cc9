"""Batch normalisation in the constants of its neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alula.ir.graph import Graph, Node, Value, sole_producer
from alula.ops.conv import Conv2d
from alula.ops.matmul import Linear
from alula.ops.norm import BatchNorm
from alula.passes.affine import affine_of, prescaled, rescaled
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class FoldBatchNorm(RewritePass):
    """bn(conv(x, W, b))  =>  conv(x, W*s, (b - mean)*s + beta)   where s = gamma / sqrt(var + eps).

    Also linear, and conv(bn(x), W, b)  =>  conv(x, W*s, b + W(beta - mean*s)) for a convolution without padding.
    """

    name: ClassVar[str] = "fold-batch-norm"
    anchors: ClassVar = (BatchNorm, Linear, Conv2d)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        if isinstance(node.op, BatchNorm):
            before = sole_producer(graph, node.inputs[0], Conv2d) or sole_producer(graph, node.inputs[0], Linear)
            found = affine_of(node) if before else None
            return rescaled(graph, before, found[1]) if before and found else None
        norm = sole_producer(graph, node.inputs[0], BatchNorm)
        found = affine_of(norm) if norm else None
        return prescaled(graph, node, *found) if found else None
