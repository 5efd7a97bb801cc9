"""Slices before the views of what they take."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alula.core.dims import product
from alula.ir.graph import Graph, Node, Value
from alula.ops.shape import Slice
from alula.passes.rewrite import RewritePass
from alula.passes.views import View, apply_view, trace


@dataclass(frozen=True)
class HoistSlices(RewritePass):
    """slice(view(x))  =>  view'(slice(x)), where the slice is a contiguous part of one axis of x.

    So q, k and v split off a tensor of all three become ranges of its columns.  A reshape that leaves the sliced axis
    alone stays where it is.
    """

    name: ClassVar[str] = "hoist-slices"
    anchors: ClassVar = (Slice,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        if not isinstance(node.op, Slice):
            return None
        for source, view in reversed(trace(node.inputs[0])[1:]):
            found = moved(node.op, view)
            if found is not None:
                op, rest = found
                return apply_view(graph, graph.add(op, source), rest.reshaped(node.output.type.shape))
        return None


def moved(op: Slice, view: View) -> tuple[Slice, View] | None:
    """The slice of the source that `op` takes of its view, and the view of that; None where there is none."""
    aligned = view.aligned()
    if aligned is None or not isinstance(op.start, int) or not isinstance(op.stop, int) or op.start == op.stop:
        return None
    split, rows, columns = aligned
    taken = columns[op.axis]
    axis = next((axis for axis, row in enumerate(rows) if taken and row[: len(taken)] == taken), None)
    if axis is None:
        return None
    inner = product(split.factors[factor] for factor in rows[axis][len(taken) :])
    if (inner == 1 and view.keeps_order) or (inner != 1 and op.step != 1):
        return None
    whole = Slice(axis, op.start * inner, op.stop * inner, op.step)
    size = (op.stop - op.start + op.step - 1) // op.step
    factors = {f: size if f == taken[0] else dim for f, dim in enumerate(split.factors) if f not in taken[1:]}
    kept = [f for f, dim in factors.items() if dim != 1]
    order = tuple(kept.index(f) for f in split.order if f in kept)
    source = tuple(size * inner if a == axis else dim for a, dim in enumerate(view.source))
    return whole, View(source, tuple(factors[f] for f in kept), order, view.shape)
