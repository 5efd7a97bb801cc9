"""Which activations get a scale for each row, found while the model runs, in place of one range for all."""

from __future__ import annotations

from math import prod

from alula.ir.graph import Graph, Value
from alula.ops.attention import Attention
from alula.ops.matmul import Linear
from alula.ops.norm import LayerNorm
from alula.ops.outlook import OutlookAttention
from alula.ops.quantize import LARGEST_BYTE, STEPS
from alula.quant.balance import products_of
from alula.quant.observed import Observed
from alula.quant.ranges import Range

FEW = 4  # rows: as few numbers are a poor range, and to read them once more is nothing
MIXED = (Attention, OutlookAttention)  # a row is as long as the values that it mixes: cheap to read once more
GAIN = 3.0  # at least: what a step of its own is worth


def by_rows(graph: Graph, value: Value, seen: Observed, range: Range) -> bool:
    """True after a LayerNorm, which has the row at hand, of few rows, and after attention where rows differ enough.

    A range has the step d = (high - low) / 255, a row r[i] = max |x[i]| / 127; rows are worth it where the noise of
    bytes, d**2 / 12, is several times the mean of r[i]**2 / 12.
    """
    node = value.producer
    if node is not None and isinstance(node.op, LayerNorm):
        return True
    if node is None or not _linear(graph, value):
        return False
    if _rows(graph, value) <= FEW:
        return True
    if not isinstance(node.op, MIXED):
        return False
    return ((range.high - range.low) / LARGEST_BYTE) ** 2 > GAIN * seen.row_square / STEPS**2


def _rows(graph: Graph, value: Value) -> int:
    """How many there are at least."""
    return prod(value.type.at({name: low for name, (low, _) in graph.symbols.items()})[:-1])


def _linear(graph: Graph, value: Value) -> bool:
    products = products_of(graph, value)
    return products is not None and all(isinstance(node.op, Linear) for node in products)
