"""Which linear layers and convolutions can take operands of a narrower type."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from alula.core.dtype import DType
from alula.ir.graph import Graph, Node
from alula.ir.op import Op
from alula.ops.attention import Attention
from alula.ops.conv import Conv2d
from alula.ops.depthwise import DepthwiseConv2d, fits_words
from alula.ops.matmul import Linear, Matmul
from alula.ops.outlook import OutlookAttention
from alula.ops.words import whole_words

PRODUCTS: tuple[type[Op], ...] = (Linear, Conv2d, DepthwiseConv2d, Matmul, Attention, OutlookAttention)


def labelled_products(graph: Graph) -> dict[str, Node]:
    """The products by their labels, in order: op and origin, numbered where several share them.

    Lowering the precision keeps the order of products and gives what it makes the origin of what it replaces, so a
    product has the same label before and after.
    """
    counts: Counter[str] = Counter()
    labelled: dict[str, Node] = {}
    for node in graph.nodes:
        if isinstance(node.op, PRODUCTS):
            label = f"{node.op.name} {node.origin}".rstrip()
            counts[label] += 1
            labelled[label if counts[label] == 1 else f"{label} ({counts[label]})"] = node
    return labelled


def narrowable(graph: Graph, weight: DType) -> Iterator[Node]:
    """The nodes in float32 whose weight and bias are constant and whose rows are whole words of the narrow type."""
    for node in list(graph.nodes):
        if not isinstance(node.op, Linear | Conv2d) or node.op.panel:
            continue
        constants, groups = node.inputs[1:], node.op.groups if isinstance(node.op, Conv2d) else 1
        plain = all(value.is_constant and value.type.dtype is DType.F32 for value in constants)
        if plain and whole_words(constants[0].type.shape, groups, weight):
            yield node


def depthwise(graph: Graph, narrow: DType) -> Iterator[Node]:
    """The depthwise convolutions of float32 with constant weight and bias, whose kernels read a narrow type as well.

    Of bytes, those whose products have sums of 32 bits.
    """
    for node in list(graph.nodes):
        if isinstance(node.op, DepthwiseConv2d):
            x, *constants = node.inputs
            fits = narrow is not DType.U8 or fits_words(node.op.kernel(constants[0].type))
            if fits and x.type.dtype is DType.F32 and all(value.is_constant for value in constants):
                yield node
