"""Which linear layers and convolutions can take operands of a narrower type."""

from __future__ import annotations

from collections.abc import Iterator

from alula.core.dims import product
from alula.core.dtype import DType
from alula.ir.graph import Graph, Node
from alula.ops.conv import Conv2d, whole_groups
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.matmul import LARGEST_BYTE_SUM, Linear, group_of

LEAST_LANES = 8  # of any target: pixels of so many channels can be widened to whole words on the way


def narrowable(graph: Graph, weight: DType) -> Iterator[Node]:
    """The nodes in float32 whose weight and bias are constant and whose rows are whole words of the narrow type."""
    for node in list(graph.nodes):
        if not isinstance(node.op, Linear | Conv2d) or node.op.panel:
            continue
        constants = node.inputs[1:]
        if all(value.is_constant and value.type.dtype is DType.F32 for value in constants) and _fits(node, weight):
            yield node


def depthwise(graph: Graph) -> Iterator[Node]:
    """The depthwise convolutions of float32 with a constant weight: their kernels read narrow activations as well."""
    for node in list(graph.nodes):
        if isinstance(node.op, DepthwiseConv2d):
            x, weight, *_ = node.inputs
            if x.type.dtype is DType.F32 and weight.is_constant:
                yield node


def _fits(node: Node, weight: DType) -> bool:
    shape = node.inputs[1].type.shape[1:]
    c, terms = shape[-1], product(shape)
    if not isinstance(c, int) or not isinstance(terms, int) or not 0 < terms <= LARGEST_BYTE_SUM:
        return False
    whole = whole_groups(c, weight)
    if isinstance(node.op, Linear) or node.op.groups > 1:  # type: ignore[attr-defined]
        return c % group_of(weight) == 0
    return whole == c or LEAST_LANES % whole == 0
