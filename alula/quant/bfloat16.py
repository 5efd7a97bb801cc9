"""Products in bfloat16: operands are rounded, sums and everything between products stay float32."""

from __future__ import annotations

from dataclasses import replace

from alula.core.dtype import DType, to_bfloat16
from alula.ir.graph import Graph, Node, Value
from alula.ir.verifier import verify
from alula.ops.attention import Attention
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Cast
from alula.ops.matmul import Linear
from alula.passes.hoist_narrowing import HoistNarrowing
from alula.passes.remove_duplicates import RemoveDuplicates
from alula.passes.reuse_narrow import ReuseNarrow
from alula.passes.rewrite import Repeat
from alula.quant.products import depthwise, narrowable

NARROW = Cast(DType.BF16)


def use_bfloat16(graph: Graph) -> None:
    """Linear layers, convolutions and attention that are still in float32 take bfloat16 operands, in place.

    A product of two bfloat16 numbers is exact in float32: what is lost is the rounding of weights and activations to 8
    significant bits.  What kernels make for products alone is rounded as it is written.  Attention whose products are
    both of bytes stays as it is.
    """
    stored: dict[Value, Value] = {}  # tied weights stay tied
    for node in narrowable(graph, DType.BF16):
        x, weight, *bias = node.inputs
        assert weight.data is not None
        if weight not in stored:
            stored[weight] = graph.constant(to_bfloat16(weight.data), weight.name)
        _replace(graph, node, x, stored[weight], *bias)
    for node in depthwise(graph, DType.BF16):
        x, *constants = node.inputs
        with graph.before(node):
            output = graph.add(node.op, graph.add(NARROW, x), *constants)
        graph.replace(node.output, output)
        graph.remove(node)
    for node in list(graph.nodes):
        if isinstance(node.op, Attention) and not node.op.wide and not node.op.byte_scores and _even_heads(node):
            _replace(graph, node, *node.inputs)
    Repeat((HoistNarrowing(), RemoveDuplicates(), ReuseNarrow())).run(graph)
    verify(graph)


def _replace(graph: Graph, node: Node, x: Value, *others: Value) -> None:
    """The same op on narrow operands; a convolution that scales its input rounds it itself, biases stay as they are."""
    assert isinstance(node.op, Linear | Conv2d | Attention)
    scaled = isinstance(node.op, Conv2d) and bool(node.op.scale)
    op = replace(node.op, wide=True)
    with graph.before(node):
        narrow = x if scaled else graph.add(NARROW, x)
        operands = list(others)
        if isinstance(op, Attention):
            operands[:2] = [graph.add(NARROW, value) for value in others[:2]]
        output = graph.add(op, narrow, *operands)
    graph.replace(node.output, output)
    graph.remove(node)


def _even_heads(node: Node) -> bool:
    q, k, *_ = (value.type for value in node.inputs)
    depth = k.shape[2]
    return q.dtype is DType.F32 and isinstance(depth, int) and depth // node.op.heads % 2 == 0  # type: ignore[attr-defined]
