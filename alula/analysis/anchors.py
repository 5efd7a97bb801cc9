"""The products of a graph in low precision, beside those of the float graph that it was made from."""

from __future__ import annotations

from dataclasses import dataclass

from alula.core.dtype import DType
from alula.ir.graph import Graph, Node, Value
from alula.ir.op import Op
from alula.ops.elementwise import Add, Cast, Mul
from alula.ops.quantize import QuantizeRows
from alula.quant.products import labelled_products

SCALING: tuple[type[Op], ...] = (Cast, Add, Mul)  # how sums of bytes become numbers again


def result(graph: Graph, node: Node) -> Value:
    """What a product gives in float: sums of bytes are followed by the scaling that has the product's own origin."""
    value = node.outputs[0]
    if value.type.dtype is not DType.I32:
        return value
    while (user := graph.sole_use(value)) is not None and _scales(user, value, node):
        value = user.output
    return value


@dataclass(frozen=True, slots=True)
class Pair:
    """A product of both graphs under one label: its node in the lowered graph, and its result in both."""

    label: str
    node: Node
    ours: Value
    theirs: Value


def matched(lowered: Graph, plain: Graph) -> list[Pair]:
    """The products that `lowered` and `plain` both have, in order; those whose results differ in type are left out."""
    others = labelled_products(plain)
    pairs = []
    for label, node in labelled_products(lowered).items():
        if label in others:
            ours, theirs = result(lowered, node), result(plain, others[label])
            if ours.type == theirs.type:
                pairs.append(Pair(label, node, ours, theirs))
    return pairs


def _scales(user: Node, value: Value, product: Node) -> bool:
    """True for a node of the scaling: what it takes beside `value` is constant or of each row's scale or zero."""
    others = [operand for operand in user.inputs if operand is not value]
    return (
        isinstance(user.op, SCALING)
        and user.origin == product.origin
        and all(_is_of_scaling(other) for other in others)
    )


def _is_of_scaling(value: Value) -> bool:
    """True for a constant, what `QuantizeRows` found, and a product of such."""
    node = value.producer
    if node is None:
        return value.is_constant
    return isinstance(node.op, QuantizeRows) or (isinstance(node.op, Mul) and all(map(_is_of_scaling, node.inputs)))
