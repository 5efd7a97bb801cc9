"""Products of what a quantised model holds as bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from alula.core.dtype import Array, DType
from alula.ir.graph import Graph, Node, Value
from alula.ops.conv import Conv2d
from alula.ops.depthwise import DepthwiseConv2d, fits_words
from alula.ops.elementwise import Add, Cast, Mul
from alula.ops.matmul import Linear
from alula.ops.quantize import Dequantize
from alula.ops.shape import Reshape, Slice, Transpose
from alula.ops.words import whole_words
from alula.passes.rewrite import RewritePass
from alula.passes.whole_steps import whole_steps

VIEWS = (Reshape, Slice, Transpose)


@dataclass(frozen=True)
class ByteProducts(RewritePass):
    """linear(dequantize(q), W, b)  =>  cast(linear(q, V), f32) * (s*t) + (b - s*t*z*sum(V))   where W[n] = V[n] * t[n].

    V holds whole numbers of a byte: nothing is rounded that was not rounded before, so this is done in every precision
    mode.  s and z are the scale and zero of dequantize.  The same for convolutions, whose border is then z; depthwise
    ones take V in 16 bits.  Not where W is no constant or, but for those, a row of it no whole number of words.
    """

    name: ClassVar[str] = "byte-products"
    anchors: ClassVar = (Linear, Conv2d, DepthwiseConv2d)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        op, (x, weight, *bias) = node.op, node.inputs
        made, views = _dequantized(x)
        if made is None or any(v.data is None or v.type.dtype is not DType.F32 for v in (weight, *bias)):
            return None
        assert isinstance(made.op, Dequantize)
        assert weight.data is not None
        assert isinstance(op, Linear | Conv2d | DepthwiseConv2d)
        whole = _whole_levels(op, weight.data)
        if whole is None:
            return None
        levels, steps, sums = whole
        scale, zero = made.op.scale, made.op.zero
        if isinstance(op, DepthwiseConv2d):
            op = replace(op, zero=zero)
        elif isinstance(op, Conv2d) and zero:
            op = replace(op, border=(zero,) * (levels.shape[-1] * op.groups))
        shifts = -scale * steps * zero * sums
        for value in bias:
            assert value.data is not None
            shifts = shifts + value.data
        total = graph.add(op, _viewed(graph, made, views), graph.constant(levels, weight.name))
        scaled = graph.add(Mul(), graph.add(Cast(DType.F32), total), _vector(graph, scale * steps))
        return graph.add(Add(), scaled, _vector(graph, shifts))


def _whole_levels(op: Linear | Conv2d | DepthwiseConv2d, weight: Array) -> tuple[Array, Array, Array] | None:
    """V as the op takes it, t f64[n], and the sum of each feature's V; None where there is no such V."""
    if isinstance(op, DepthwiseConv2d):
        features, takes = np.moveaxis(weight, -1, 0), fits_words(weight.shape[:2])
    else:
        groups = op.groups if isinstance(op, Conv2d) else 1
        features, takes = weight, not op.panel and whole_words(weight.shape, groups, DType.I8)
    whole = whole_steps(features) if takes else None
    if whole is None:
        return None
    levels, steps = whole
    sums = levels.reshape(len(levels), -1).sum(axis=1, dtype=np.int64)
    if isinstance(op, DepthwiseConv2d):
        levels = np.ascontiguousarray(np.moveaxis(levels, 0, -1)).astype(np.int16)
    return levels, steps, sums


def _vector(graph: Graph, values: Array) -> Value:
    return graph.constant(values.astype(np.float32))


def _dequantized(x: Value) -> tuple[Node | None, list[Node]]:
    """The dequantisation that x is made by, None where it is not, and the views of it on the way to x."""
    views: list[Node] = []
    while x.producer is not None and isinstance(x.producer.op, VIEWS):
        views.insert(0, x.producer)
        x = x.producer.inputs[0]
    made = x.producer
    return (made if made is not None and isinstance(made.op, Dequantize) else None), views


def _viewed(graph: Graph, made: Node, views: Sequence[Node]) -> Value:
    value = made.inputs[0]
    for view in views:
        value = graph.add(view.op, value)
    return value
