"""A change of the channels' order inside the weight that takes them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from alula.ir.graph import Graph, Node, Value
from alula.ops.conv import Conv2d
from alula.ops.matmul import Linear
from alula.ops.shape import Concat, Slice
from alula.passes.match import made_by
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class FoldChannelOrder(RewritePass):
    """conv2d(concat(x[..,2:3], x[..,1:2], x[..,0:1]), W)  =>  conv2d(x, W'), W' with its input channels in that order.

    For any permutation of single channels of one x (BGR of RGB), for linear too; scale and shift move along.
    """

    name: ClassVar[str] = "fold-channel-order"
    anchors: ClassVar = (Conv2d, Linear)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        weight = node.inputs[1]
        found = _permuted(node.inputs[0])
        if found is None or weight.data is None:
            return None
        x, channels = found
        places = np.argsort(channels).tolist()
        match node.op:
            case Linear(panel=0) as op:
                moved: Linear | Conv2d = op
            case Conv2d(panel=0, groups=1, scale=scale, shift=shift) as conv:
                moved = replace(conv, scale=_reordered(scale, places), shift=_reordered(shift, places))
            case _:
                return None
        turned = graph.constant(np.ascontiguousarray(weight.data[..., places]), weight.name)
        return graph.add(moved, x, turned, *node.inputs[2:])


def _permuted(value: Value) -> tuple[Value, list[int]] | None:
    """x and the order that its channels, one by one and all of them, are put in; None for other values."""
    concat = made_by(value, Concat)
    last = value.type.rank - 1
    if concat is None or concat.op != Concat(last):
        return None
    slices = [part for operand in concat.inputs if (part := made_by(operand, Slice)) is not None]
    starts = [part.op.start for part in slices if isinstance(part.op, Slice) and part.op.axis == last]
    channels = [start for start in starts if isinstance(start, int)]
    if len({part.inputs[0] for part in slices}) != 1 or sorted(channels) != list(range(len(concat.inputs))):
        return None
    x = slices[0].inputs[0]
    return (x, channels) if x.type == value.type else None


def _reordered(vector: tuple[float, ...], places: list[int]) -> tuple[float, ...]:
    return tuple(vector[place] for place in places) if vector else ()
