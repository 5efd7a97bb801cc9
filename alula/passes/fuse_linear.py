"""Matrix products with a constant as linear layers."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import numpy as np

from alula.ir.graph import Graph, Node, Value
from alula.ops.matmul import Linear, Matmul
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class FuseLinear(RewritePass):
    """matmul(x, W[k,n])  =>  linear(x, W^T[n,k]), W constant.

    What is added to it then becomes its bias (fold-scale-shift).
    """

    name: ClassVar[str] = "fuse-linear"
    anchors: ClassVar = (Matmul,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        x, weight = node.inputs
        if weight.data is None or x.is_constant or prod(weight.data.shape[:-2]) != 1:
            return None
        if node.output.type.rank != x.type.rank:
            return None
        transposed = np.ascontiguousarray(weight.data.reshape(weight.data.shape[-2:]).T)
        return graph.add(Linear(), x, graph.constant(transposed, weight.name))
