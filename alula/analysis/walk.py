"""A graph computed op by op on operands that are known to be right, so that an error shows at the op that makes it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from alula.analysis.error import Error, error, size_of
from alula.core.dtype import Array
from alula.ir.graph import Graph, Node, Value
from alula.ops.reference import apply_op, bind_sizes, last_users


class Known:
    """Arrays that arrive in some order, for those of `wanted` that are asked for in about the same order.

    What has arrived and was not asked for yet is kept; what was asked for is let go.
    """

    def __init__(self, arrays: Iterable[tuple[Value, Array]], wanted: Iterable[Value]) -> None:
        self._coming, self._wanted = iter(arrays), set(wanted)
        self._waiting: dict[Value, Array] = {}

    def take(self, value: Value) -> Array | None:
        """The array of a value; None where nothing is known of it."""
        if value not in self._wanted:
            return None
        self._wanted.remove(value)
        while value not in self._waiting:
            arrived = next(self._coming, None)
            if arrived is None:
                return None
            if arrived[0] is value or arrived[0] in self._wanted:
                self._waiting[arrived[0]] = arrived[1]
        return self._waiting.pop(value)


@dataclass(frozen=True, slots=True)
class Checked:
    """How far a value of the graph is from what is known of it.

    `local` is the error that was made since the last known values, `accumulated` that of the graph left to itself.
    """

    value: Value
    node: Node
    local: Error
    accumulated: Error


@dataclass(frozen=True, slots=True)
class Beside:
    """A value of the graph, computed from the last known values (`got`) and by the graph left to itself (`alone`),
    beside what is known of it; `scale` is the size of its operands."""

    value: Value
    node: Node
    got: Array
    alone: Array
    expected: Array
    scale: float

    def checked(self) -> Checked:
        """The errors, without the arrays."""
        local = error(self.got, self.expected, self.scale)
        accumulated = local if self.alone is self.got else error(self.alone, self.expected, self.scale)
        return Checked(self.value, self.node, local, accumulated)


def walk(graph: Graph, inputs: Sequence[Array], known: Known, accumulate: bool = True) -> Iterator[Beside]:
    """Every value that something is known of, in order.  After it the known array goes on in the place of ours.

    Few tensors are alive at a time: those that later nodes take, twice where `accumulate` asks for the graph left to
    itself (without, that is the same as ours).  Raises ShapeError for inputs that do not fit.
    """
    sizes = bind_sizes(graph, inputs)
    exact: dict[Value, Array] = dict(zip(graph.inputs, inputs, strict=True))
    free = dict(exact)
    last = last_users(graph)
    for node in graph.nodes:
        op = node.op.at(sizes)
        operands = [exact[value] if value.data is None else value.data for value in node.inputs]
        alone = [free[value] if value.data is None else value.data for value in node.inputs]
        results = apply_op(op, *operands)
        apart = accumulate and any(a is not b for a, b in zip(operands, alone, strict=True))
        own = apply_op(op, *alone) if apart else results
        for value, result, other in zip(node.outputs, results, own, strict=True):
            right = known.take(value)
            exact[value], free[value] = result, other
            if right is not None:
                scale = max((size_of(operand) for operand in operands), default=0.0)
                yield Beside(value, node, result, other, right, scale)
                exact[value] = right
                free[value] = other if accumulate else right
        for value in {*node.inputs, *node.outputs}:
            if last.get(value) in (node, None):
                exact.pop(value, None)
                free.pop(value, None)
