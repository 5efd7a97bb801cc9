"""Slices of slices and of concatenations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alula.ir.graph import Graph, Node, Value
from alula.ops.shape import Concat, Slice
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class SimplifySlices(RewritePass):
    """slice(slice(x))  =>  slice(x), and slice(concat(.., x, ..))  =>  slice(x) where all of it lies in x.

    Only slices of fixed bounds that are not empty.
    """

    name: ClassVar[str] = "simplify-slices"
    anchors: ClassVar = (Slice,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        producer = node.inputs[0].producer
        if producer is None or not isinstance(node.op, Slice):
            return None
        outer = node.op
        if not isinstance(outer.start, int) or not isinstance(outer.stop, int) or outer.start == outer.stop:
            return None
        match producer.op:
            case Slice(axis=axis, start=int(start), step=step) if axis == outer.axis:
                stop = start + (outer.stop - 1) * step + 1
                return graph.add(Slice(axis, start + outer.start * step, stop, step * outer.step), producer.inputs[0])
            case Concat(axis=axis) if axis == outer.axis:
                return _of_one_operand(graph, outer, producer, outer.start, outer.stop)
        return None


def _of_one_operand(graph: Graph, op: Slice, concat: Node, start: int, stop: int) -> Value | None:
    begin = 0
    for value in concat.inputs:
        size = value.type.shape[op.axis]
        if not isinstance(size, int):
            return None
        if begin <= start and stop <= begin + size:
            return graph.add(Slice(op.axis, start - begin, stop - begin, op.step), value)
        begin += size
    return None
