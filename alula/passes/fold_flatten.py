"""Transposes before a linear layer inside its weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.ir.graph import Graph, Node, Value
from alula.ops.matmul import Linear
from alula.passes.match import behind
from alula.passes.rewrite import RewritePass
from alula.passes.views import View, apply_view


@dataclass(frozen=True)
class FoldFlatten(RewritePass):
    """linear(flatten(transpose(x)), W)  =>  linear(flatten(x), W'), where the transpose only orders the columns of W.

    So the NCHW order that a classifier was trained on costs nothing when its features are channels-last.
    """

    name: ClassVar[str] = "fold-flatten"
    anchors: ClassVar = (Linear,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        weight = node.inputs[1]
        source, view, _ = behind(node.inputs[0])
        if node.op != Linear() or weight.data is None or view.merged().keeps_order:
            return None
        split = view.split()
        if split is None:
            return None
        whole, groups = split
        columns, rows = groups[-1], [factor for group in groups[:-1] for factor in group]
        sizes = [whole.factors[factor] for factor in columns]
        if rows != list(range(len(rows))) or not all(isinstance(size, int) for size in sizes):
            return None
        straight = View(whole.source, whole.factors, tuple(range(len(whole.factors))), whole.shape)
        parts = weight.data.reshape(weight.data.shape[0], *sizes)
        turned = parts.transpose(0, *(1 + place for place in np.argsort(columns).tolist()))
        constant = graph.constant(np.ascontiguousarray(turned.reshape(weight.data.shape)), weight.name)
        return graph.add(node.op, apply_view(graph, source, straight), constant, *node.inputs[2:])
