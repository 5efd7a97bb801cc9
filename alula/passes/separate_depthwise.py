"""Depthwise convolutions as an op of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.ir.graph import Graph, Node, Value
from alula.ops.conv import Conv2d
from alula.ops.depthwise import DepthwiseConv2d
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class SeparateDepthwise(RewritePass):
    """conv2d(x[n,h,w,c], W[c,kh,kw,1], b) {groups=c}  =>  depthwise_conv2d(x, W[kh,kw,c], b).

    Not where the convolution also normalises its input.
    """

    name: ClassVar[str] = "separate-depthwise"
    anchors: ClassVar = (Conv2d,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        op, (x, weight, *bias) = node.op, node.inputs
        assert isinstance(op, Conv2d)
        if weight.data is None or op.scale or op.panel or not op.groups == x.type.shape[3] == len(weight.data) > 1:
            return None
        taps = graph.constant(np.ascontiguousarray(weight.data[..., 0].transpose(1, 2, 0)), weight.name)
        return graph.add(DepthwiseConv2d(op.stride, op.pad, op.dilation), x, taps, *bias)
