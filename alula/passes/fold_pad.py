"""Zeros around a picture as the padding of the convolution that takes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from alula.ir.graph import Graph, Node, Value
from alula.ops.conv import Conv2d
from alula.ops.shape import Pad, Transpose
from alula.ops.windows import dilated
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class FoldPad(RewritePass):
    """conv2d(pad(x))  =>  conv2d(x) {pad}, for rows and columns of 0, fewer than the kernel reaches over.

    TensorFlow pads a convolution of stride 2 on two sides only, and exporters write that as an op.  A transpose in
    between is kept.
    """

    name: ClassVar[str] = "fold-pad"
    anchors: ClassVar = (Conv2d,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        op, (x, weight, *bias) = node.op, node.inputs
        assert isinstance(op, Conv2d)
        turn, source = None, x.producer
        if source is not None and isinstance(source.op, Transpose):
            turn, source = source.op, source.inputs[0].producer
        if source is None or not isinstance(source.op, Pad) or source.op.value or op.scale or op.panel:
            return None
        axes = turn.perm if turn else range(4)
        before, after = ([counts[axis] for axis in axes] for counts in (source.op.before, source.op.after))
        pad = tuple(one + other for one, other in zip(op.pad, (*before[1:3], *after[1:3]), strict=True))
        reach = dilated(weight.type.shape[1:3], op.dilation)  # type: ignore[arg-type]
        if any(before[axis] or after[axis] for axis in (0, 3)) or any(p >= reach[i % 2] for i, p in enumerate(pad)):
            return None
        picture = graph.add(turn, source.inputs[0]) if turn else source.inputs[0]
        return graph.add(replace(op, pad=pad), picture, weight, *bias)  # type: ignore[arg-type]
