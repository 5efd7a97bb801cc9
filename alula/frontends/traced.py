"""A source model beside the graph that it became: what its own framework makes of inputs, value by value."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from alula.core.dtype import Array
from alula.ir.graph import Graph, Value


@dataclass(frozen=True, slots=True)
class Traced:
    """`known` are the values of the graph that the source has too; `values` computes them, in the source's order.

    What the source's own later nodes do not need is let go.  `framework` names who computes.
    """

    graph: Graph
    framework: str
    known: frozenset[Value]
    values: Callable[[Sequence[Array]], Iterator[tuple[Value, Array]]]
