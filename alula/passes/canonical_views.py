"""Reshapes and transposes in their shortest form."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

from alula.ir.graph import Graph, Node, Value
from alula.ops.shape import Reshape, Transpose
from alula.passes.rewrite import RewritePass
from alula.passes.views import apply_view, trace

Cost = tuple[int, int]  # transposes, nodes


@dataclass(frozen=True)
class CanonicalViews(RewritePass):
    """A chain of reshapes and transposes  =>  at most reshape, transpose, reshape; opposite ones cancel.

    Done only where fewer transposes, or as many of them and fewer nodes, are left: what others use stays anyway.
    """

    name: ClassVar[str] = "canonical-views"
    anchors: ClassVar = (Reshape, Transpose)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        old: Cost = (0, 0)
        best: tuple[int, int, int] | None = None
        chain, dies = trace(node.output), True
        for distance, ((value, _), (_, view)) in enumerate(pairwise(chain)):
            dies = dies and (distance == 0 or graph.sole_use(value) is not None)
            if dies and value.producer is not None:
                old = (old[0] + isinstance(value.producer.op, Transpose), old[1] + 1)
            ops = view.ops()
            new = (sum(isinstance(op, Transpose) for op in ops), len(ops))
            gain = (new[0] - old[0], new[1] - old[1], distance + 1)
            if gain[:2] < (0, 0) and (best is None or gain < best):
                best = gain
        return apply_view(graph, *chain[best[2]]) if best else None
