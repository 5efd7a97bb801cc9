"""Which activations get a scale for each row, found while the model runs, in place of one range for all."""

from __future__ import annotations

from math import prod

from alula.ir.graph import Graph, Node, Value
from alula.ir.types import fixed
from alula.ops.attention import Attention
from alula.ops.elementwise import Add
from alula.ops.matmul import Linear
from alula.ops.norm import LayerNorm
from alula.ops.outlook import OutlookAttention
from alula.quant.balance import products_of
from alula.quant.observed import Observed
from alula.quant.ranges import VIEWS, Range

FEW = 4  # rows: as few numbers are a poor range, and to read them once more is nothing
MIXED = (Attention, OutlookAttention)  # a row is as long as the values that it mixes: cheap to read once more
WIDE = 128  # features, from which on a product takes longer than to read its rows once more
GAIN = 3.5  # at least: what a step of its own is worth


def by_rows(graph: Graph, value: Value, seen: Observed, range: Range) -> bool:
    """True after a LayerNorm, which has the row at hand, of few rows, and where a step for each is worth reading them.

    The noise of bytes is d**2 / 12, with d = (high - low) / 255 of the range or of the row.  A LayerNorm that comes
    later looks at each row by itself, so that small ones count as much as large ones: what is compared is the mean of
    the noise's logarithm.
    """
    node = value.producer
    if node is not None and isinstance(node.op, LayerNorm):
        return True
    if node is None or not _linear(graph, value):
        return False
    if _rows(graph, value) <= FEW:
        return True
    if not isinstance(node.op, MIXED) and not _are_normalised(graph, value):
        return False
    return seen.row_span > 0 and ((range.high - range.low) / seen.row_span) ** 2 > GAIN


def _are_normalised(graph: Graph, value: Value) -> bool:
    """True where the products of a value are wide, and a LayerNorm takes each one's result, added to others perhaps."""
    products = products_of(graph, value) or []
    return all(_features(node) >= WIDE and _reaches_norm(node.output) for node in products)


def _features(node: Node) -> int:
    return fixed(node.inputs[1].type.shape[0], "feature count")


def _reaches_norm(value: Value) -> bool:
    met, pending = {value}, [value]
    while pending:
        for user in pending.pop().uses:
            if isinstance(user.op, LayerNorm):
                return True
            if isinstance(user.op, (Add, *VIEWS)) and user.output not in met:
                met.add(user.output)
                pending.append(user.output)
    return False


def _rows(graph: Graph, value: Value) -> int:
    """How many there are at least."""
    return prod(value.type.at({name: low for name, (low, _) in graph.symbols.items()})[:-1])


def _linear(graph: Graph, value: Value) -> bool:
    products = products_of(graph, value)
    return products is not None and all(isinstance(node.op, Linear) for node in products)
