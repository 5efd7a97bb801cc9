"""A value divided by a factor for each channel, where the ops that make it can do so by other constants."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from alula.ir.graph import Graph, Node, Value
from alula.ops.attention import Attention
from alula.ops.conv import Conv2d
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.elementwise import Clip, Gelu, HardSwish, LeakyRelu, Minimum, Mul, Relu, Silu
from alula.ops.matmul import Linear
from alula.ops.norm import LayerNorm
from alula.ops.outlook import OutlookAttention
from alula.ops.pool import AvgPool2d, MaxPool2d
from alula.ops.shape import Concat, Reshape, Slice, Transpose
from alula.passes.affine import Affine, rescaled
from alula.quant.histogram import Floats
from alula.quant.ranges import channels

Divide = Callable[[Floats], Value]  # the value over factors f64[c], c its channels; the graph gets new nodes
SCALED = (Linear, Conv2d, DepthwiseConv2d, LayerNorm)  # x / s by constants over s
ALIKE = (Relu, LeakyRelu, MaxPool2d, AvgPool2d)  # f(x / s) = f(x) / s, channel by channel, for positive s
BENT = (Gelu, Silu, HardSwish)  # others: the kernel that computes them multiplies once more


def divider(graph: Graph, value: Value) -> Divide | None:
    """How to make value[...,c] / s[c] for positive s; None where it would take a step of its own.

    relu(x) / s = relu(x / s); the same for pools and views; concat(x, y) / s = concat(x / s, y / s) of their parts.
    clip(x, 0, h) / s = relu(minimum(x / s, h / s)).  (softmax(q k^T) v) / s = softmax(q k^T) (v / s), and so for outlook
    attention.  linear, conv2d and layer_norm have other weights; slices of a product have other rows of it.
    """
    node = value.producer
    return None if node is None else _divider(graph, node)


def _divider(graph: Graph, node: Node) -> Divide | None:
    op = node.op
    if isinstance(op, SCALED):
        return _of_product(graph, node) if all(other.is_constant for other in node.inputs[1:]) else None
    if isinstance(op, BENT):
        return lambda factors: _after(graph, node, factors)
    if isinstance(op, Concat):
        return _of_parts(graph, node) if op.axis == node.output.type.rank - 1 else None
    if isinstance(op, Clip):
        return _of_clip(graph, node) if op.low == 0 else None
    if isinstance(op, Slice) and op.axis == node.output.type.rank - 1:
        return _of_slice(graph, node)
    if isinstance(op, Attention | OutlookAttention) or isinstance(op, ALIKE) or keeps_channels(node):
        return _inside(graph, node)
    return None


def keeps_channels(node: Node) -> bool:
    """True for a view whose last axis is that of what it is a view of."""
    x, y = node.inputs[0].type, node.outputs[0].type
    match node.op:
        case Transpose(perm=perm):
            return bool(perm) and perm[-1] == x.rank - 1
        case Reshape():
            return x.shape[-1:] == y.shape[-1:]
        case Slice(axis=axis):
            return axis != x.rank - 1
    return False


def _of_product(graph: Graph, node: Node) -> Divide | None:
    def divide(factors: Floats) -> Value:
        with graph.before(node):
            value = rescaled(graph, node, Affine(1 / factors, None))
        assert value is not None, "all its constants are known"
        return value

    return divide


def _after(graph: Graph, node: Node, factors: Floats) -> Value:
    """The node once more, and a product."""
    with graph.before(node):
        return graph.add(Mul(), graph.add(node.op, *node.inputs), _vector(graph, 1 / factors))


def _inside(graph: Graph, node: Node) -> Divide | None:
    """The same op of its last operand divided: attention's values, or the only one."""
    inner = _sole_divider(graph, node.inputs[-1])
    if inner is None:
        return None

    def divide(factors: Floats) -> Value:
        divided = inner(factors)
        with graph.before(node):
            return graph.add(node.op, *node.inputs[:-1], divided)

    return divide


def _of_clip(graph: Graph, node: Node) -> Divide | None:
    inner, op = _sole_divider(graph, node.inputs[0]), node.op
    if inner is None:
        return None

    def divide(factors: Floats) -> Value:
        divided = inner(factors)
        with graph.before(node):
            assert isinstance(op, Clip)
            return graph.add(Relu(), graph.add(Minimum(), divided, _vector(graph, op.high / factors)))

    return divide


def _of_parts(graph: Graph, node: Node) -> Divide | None:
    parts = [(part, _sole_divider(graph, part)) for part in node.inputs]

    def divide(factors: Floats) -> Value:
        divided, start = [], 0
        for part, inner in parts:
            assert inner is not None
            divided.append(inner(factors[start : start + channels(part)]))
            start += channels(part)
        with graph.before(node):
            return graph.add(node.op, *divided)

    return None if any(inner is None for _, inner in parts) else divide


def _of_slice(graph: Graph, node: Node) -> Divide | None:
    """Some channels of what has other channels too: those of the others are not touched."""
    source, op = node.inputs[0], node.op
    assert isinstance(op, Slice)
    inner = divider(graph, source)
    if inner is None or not _apart(graph, source):
        return None

    def divide(factors: Floats) -> Value:
        every = np.ones(channels(source))
        every[op.start : op.stop] = factors
        divided = inner(every)
        graph.replace(source, divided)
        with graph.before(node):
            return graph.add(op, divided)

    return divide


def _apart(graph: Graph, source: Value) -> bool:
    """True where every use is a slice of channels, and no two share one."""
    slices = [user.op for user in source.uses if isinstance(user.op, Slice) and user.op.axis == source.type.rank - 1]
    if len(slices) < len(source.uses) or any(source is output for _, output in graph.outputs):
        return False
    ends = sorted((op.start, op.stop) for op in slices)
    return all(op.step == 1 for op in slices) and all(
        stop <= start for (_, stop), (start, _) in zip(ends, ends[1:], strict=False)
    )


def _sole_divider(graph: Graph, value: Value) -> Divide | None:
    return divider(graph, value) if graph.sole_use(value) is not None else None


def _vector(graph: Graph, values: Floats) -> Value:
    return graph.constant(values.astype(np.float32))
