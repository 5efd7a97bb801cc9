"""Shuffles of channels before the slices and transposes that follow them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alula.ir.graph import Graph, Node, Value
from alula.ops.shape import Slice
from alula.passes.rewrite import RewritePass
from alula.passes.views import View, apply_view, trace


@dataclass(frozen=True)
class HoistShuffles(RewritePass):
    """slice(view(x))  =>  view'(slice(shuffle(x))), where the sliced axis is the last one of x in another order.

    ShuffleNet deals the channels of two halves out to each other and then takes halves again: with channels first that
    is a reshape, a transpose and a reshape, with channels last it permutes the last axis, and what follows can be
    channels last too.
    """

    name: ClassVar[str] = "hoist-shuffles"
    anchors: ClassVar = (Slice,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        op = node.op
        assert isinstance(op, Slice)
        if not isinstance(op.start, int) or not isinstance(op.stop, int) or op.start == op.stop:
            return None
        for source, view in reversed(trace(node.inputs[0])[1:]):
            if (found := shuffled(op, view)) is not None:
                shuffle, order = found
                part = graph.add(
                    Slice(source.type.rank - 1, op.start, op.stop, op.step), apply_view(graph, source, shuffle)
                )
                factors = (*shuffle.factors[: len(order) - 1], part.type.shape[-1])
                return apply_view(graph, part, View(part.type.shape, factors, order, node.output.type.shape))
        return None


def shuffled(op: Slice, view: View) -> tuple[View, tuple[int, ...]] | None:
    """The shuffle of the source's last axis that the sliced one is, and the order of all others and it after that.

    None where the sliced axis is not all of the last one, has its order, or is the last one already.
    """
    aligned = view.aligned()
    if aligned is None:
        return None
    split, rows, columns = aligned
    taken, last = columns[op.axis], rows[-1] if rows else []
    others = [factor for row in rows[:-1] for factor in row]
    if sorted(taken) != last or taken == last or split.order == (*others, *taken):
        return None
    shuffle = View(split.source, split.factors, (*others, *taken), split.source)
    order = tuple(len(others) if factor == taken[0] else factor for factor in split.order if factor not in taken[1:])
    return shuffle, order
