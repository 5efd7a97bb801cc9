"""Linear layers before the interpolations that enlarge what they take."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from itertools import accumulate
from typing import ClassVar

import numpy as np

from alula.ir.graph import Graph, Node, Value, sole_producer
from alula.ir.types import fixed
from alula.ops.elementwise import Add
from alula.ops.gather import Interpolate
from alula.ops.matmul import Linear
from alula.ops.shape import Concat
from alula.passes.match import exact
from alula.passes.rewrite import RewritePass

ROUNDING = 1e-6  # of the sum of an element's shares


@dataclass(frozen=True)
class HoistProjections(RewritePass):
    """linear(interpolate(x), W, b)  =>  interpolate(linear(x, W, b)), and where it takes a concatenation
    linear(concat(x, interpolate(y)), [V, W], b)  =>  linear(x, V, b) + interpolate(linear(y, W)).

    Interpolation mixes places and a linear layer channels, so either may come first; a bias stays what it is where
    shares sum to 1.  Where the interpolation enlarges and the layer does not widen, that takes fewer multiply-adds and
    no more interpolating.
    """

    name: ClassVar[str] = "hoist-projections"
    anchors: ClassVar = (Linear,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        x, weight, *bias = node.inputs
        if node.op != Linear() or weight.data is None:
            return None
        joined = sole_producer(graph, x, Concat)
        parts = list(joined.inputs) if joined is not None and joined.op == Concat(x.type.rank - 1) else [x]
        layers = [_enlarging(graph, part, weight.data.shape[0]) for part in parts]
        if not any(layers):
            return None
        ends = accumulate(fixed(part.type.shape[-1], "channel count") for part in parts)
        columns = np.split(weight.data, list(ends)[:-1], axis=1)
        kept = [number for number, layer in enumerate(layers) if layer is None]
        terms = []
        if kept:
            rest = [parts[number] for number in kept]
            whole = graph.add(Concat(x.type.rank - 1), *rest) if len(rest) > 1 else rest[0]
            own = graph.constant(np.concatenate([columns[number] for number in kept], axis=1), weight.name)
            terms.append(graph.add(Linear(), whole, own, *bias))
        for layer, own_columns in zip(layers, columns, strict=True):
            if layer is not None:
                source, *tables = layer.inputs
                own = graph.constant(np.ascontiguousarray(own_columns), weight.name)
                small = graph.add(Linear(), source, own, *([] if terms else bias))
                terms.append(graph.add(layer.op, small, *tables))
        return reduce(lambda total, term: graph.add(Add(), total, term), terms)


def _enlarging(graph: Graph, value: Value, features: int) -> Node | None:
    """The interpolation that makes `value` for one user from fewer places, where it has `features` channels or more."""
    node = sole_producer(graph, value, Interpolate)
    if node is None or not isinstance(node.op, Interpolate):
        return None
    (x, _, shares), axis = node.inputs, node.op.axis
    before, after, channels = x.type.shape[axis], value.type.shape[axis], value.type.shape[-1]
    sums = exact(shares)
    if sums is None or np.abs(sums.sum(-1) - 1).max(initial=0.0) > ROUNDING or x.type.rank != value.type.rank:
        return None
    if axis == x.type.rank - 1 or not all(isinstance(size, int) for size in (before, after, channels)):
        return None
    return node if before < after and features <= channels else None  # type: ignore[operator]
