"""Scaling and shifting by constants in the constants of their neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alula.ir.graph import Graph, Node, Value
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Add, Div, Mul, Sub
from alula.ops.matmul import Linear
from alula.ops.norm import BatchNorm, LayerNorm
from alula.passes.affine import affine_of, prescaled, rescaled
from alula.passes.match import made_by
from alula.passes.rewrite import RewritePass

SCALES = (Add, Sub, Mul, Div)


@dataclass(frozen=True)
class FoldScaleShift(RewritePass):
    """linear(x, W, b) * s + t  =>  linear(x, W*s, b*s + t), and linear(x*s + t, W, b)  =>  linear(x, W*s, b + W t).

    s and t are constant, a scalar or one number per channel.  Also for conv2d (with padding: s only, when it comes
    before), and after layer_norm and batch_norm.
    """

    name: ClassVar[str] = "fold-scale-shift"
    anchors: ClassVar = (*SCALES, Linear, Conv2d)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        if not isinstance(node.op, SCALES):
            scale = made_by(node.inputs[0], *SCALES)
            found = affine_of(scale) if scale and graph.sole_use(scale.output) else None
            return prescaled(graph, node, *found) if found else None
        found = affine_of(node)
        if found is None or graph.sole_use(found[0]) is None:
            return None
        before = made_by(found[0], Linear, Conv2d, LayerNorm, BatchNorm)
        return rescaled(graph, before, found[1]) if before else None
