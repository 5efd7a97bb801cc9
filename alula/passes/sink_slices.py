"""Reshapes before the slices that they leave alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

from alula.ir.graph import Graph, Node, Value
from alula.ops.shape import Reshape, Slice
from alula.passes.match import made_by
from alula.passes.rewrite import RewritePass
from alula.passes.views import View


@dataclass(frozen=True)
class SinkSlices(RewritePass):
    """reshape(slice(x))  =>  slice(reshape(x)), where the sliced axis stays as it is.

    A reshape of a whole tensor is free, one of a part of its columns is not.
    """

    name: ClassVar[str] = "sink-slices"
    anchors: ClassVar = (Reshape,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        taken = made_by(node.inputs[0], Slice)
        if taken is None or not isinstance(taken.op, Slice):
            return None
        axis, sliced, shape = taken.op.axis, taken.output.type.shape, node.output.type.shape
        aligned = View.identity(sliced).reshaped(shape).aligned()
        if aligned is None or not aligned[1][axis] or aligned[1][axis] not in aligned[2]:
            return None
        place = aligned[2].index(aligned[1][axis])
        whole = (*shape[:place], taken.inputs[0].type.shape[axis], *shape[place + 1 :])
        return graph.add(replace(taken.op, axis=place), graph.add(Reshape(whole), taken.inputs[0]))
