"""The graph: frozen ops and types in a mutable SSA list of nodes.  Constants are held, never copied."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from alula.core.dtype import Array
from alula.core.errors import GraphError, ShapeError
from alula.core.preprocess import Preprocess
from alula.ir.op import Op, infer_types
from alula.ir.types import TensorType


@dataclass(eq=False, slots=True)
class Value:
    """One tensor: an input or constant of the graph, or an output of `producer`."""

    type: TensorType
    producer: Node | None = None
    data: Array | None = None
    name: str = ""
    uses: list[Node] = field(default_factory=list, repr=False)

    @property
    def is_constant(self) -> bool:
        """True where its elements are known."""
        return self.data is not None


@dataclass(eq=False, slots=True)
class Node:
    """One application of an op.  `origin` says where in the source model it came from."""

    op: Op
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...] = ()
    origin: str = ""

    @property
    def output(self) -> Value:
        """Its only output.  Raises GraphError where it has several."""
        if len(self.outputs) != 1:
            raise GraphError(f"{self.op.name}: expected one output, got {len(self.outputs)}")
        return self.outputs[0]


class Graph:
    """Inputs, nodes in an order that defines before it uses, and named outputs; `symbols` are the ranges of sizes.

    `preprocess` and `provenance` are what the source model carried along; ops and passes never look at them.  `trail`,
    where it is a list, collects what `replace` puts in whose place: values that have to be equal.
    """

    def __init__(self, name: str = "graph", symbols: dict[str, tuple[int, int]] | None = None) -> None:
        self.name = name
        self.symbols = dict(symbols or {})
        self.inputs: list[Value] = []
        self.nodes: list[Node] = []
        self.outputs: list[tuple[str, Value]] = []
        self.origin = ""
        self.preprocess: Preprocess | None = None
        self.provenance: dict[str, str] = {}
        self.trail: list[tuple[Value, Value]] | None = None
        self._follower: Node | None = None

    def input(self, name: str, type: TensorType) -> Value:
        """A new input, after those there are."""
        value = Value(type, name=name)
        self.inputs.append(value)
        return value

    def constant(self, data: Array, name: str = "") -> Value:
        """A value whose elements are `data` (held, not copied; do not write to it afterwards)."""
        return Value(TensorType.of(data), data=data, name=name)

    def output(self, name: str, value: Value) -> None:
        """Make `value` an output, after those there are."""
        self.outputs.append((name, value))

    def add(self, op: Op, *inputs: Value, origin: str | None = None) -> Value:
        """The output of a new node that applies `op`; its types are inferred.  Raises ShapeError naming op and node."""
        return self.add_node(op, *inputs, origin=origin).output

    def add_node(self, op: Op, *inputs: Value, origin: str | None = None) -> Node:
        """A new node that applies `op`, for ops of several outputs."""
        node = Node(op, inputs, origin=self.origin if origin is None else origin)
        try:
            types = infer_types(op, [value.type for value in inputs])
        except ShapeError as error:
            where = f" ({node.origin})" if node.origin else ""
            raise ShapeError(f"{op.name} %{len(self.nodes)}{where}: {error}") from None
        node.outputs = tuple(Value(type, node) for type in types)
        for value in inputs:
            value.uses.append(node)
        self.nodes.insert(len(self.nodes) if self._follower is None else self.nodes.index(self._follower), node)
        return node

    @contextmanager
    def before(self, node: Node) -> Iterator[None]:
        """Nodes added inside the block stand before `node` and take its origin."""
        saved = self._follower, self.origin
        self._follower, self.origin = node, node.origin
        try:
            yield
        finally:
            self._follower, self.origin = saved

    def replace(self, old: Value, new: Value) -> None:
        """Every use of `old` becomes one of `new`, graph outputs included.  Raises GraphError for another type."""
        if old.type != new.type:
            raise GraphError(f"replace: expected {old.type}, got {new.type}")
        if self.trail is not None:
            self.trail.append((old, new))
        for user in dict.fromkeys(old.uses):
            user.inputs = tuple(new if value is old else value for value in user.inputs)
        new.uses.extend(old.uses)
        old.uses.clear()
        self.outputs = [(name, new if value is old else value) for name, value in self.outputs]

    def remove(self, node: Node) -> None:
        """Take out a node whose outputs nothing uses."""
        if any(self.is_used(value) for value in node.outputs):
            raise GraphError(f"remove: expected {node.op.name} to be unused")
        for value in node.inputs:
            value.uses.remove(node)
        self.nodes.remove(node)

    def is_used(self, value: Value) -> bool:
        """True where a node or a graph output takes `value`."""
        return bool(value.uses) or any(value is output for _, output in self.outputs)

    def sole_use(self, value: Value) -> Node | None:
        """The one node that takes `value`, exactly once; None where there are more, or a graph output takes it."""
        taken = any(value is output for _, output in self.outputs)
        return value.uses[0] if len(value.uses) == 1 and not taken else None

    def constants(self) -> list[Value]:
        """The constants in use, in the order of their first use."""
        used = [value for node in self.nodes for value in node.inputs] + [value for _, value in self.outputs]
        return list(dict.fromkeys(value for value in used if value.is_constant))

    def open_sizes(self) -> dict[str, tuple[int, int]]:
        """The ranges of `symbols` that a program cannot leave open."""
        return open_sizes(self.symbols, [value.type for value in self.inputs])

    def copied(self, sizes: Mapping[str, int] | None = None) -> tuple[Graph, dict[Value, Value]]:
        """The same graph in new nodes and values, and which value is which; constants are shared, not copied.

        With `sizes` those symbols are numbers in the copy, and what nodes without operands give is constant.  Raises
        ShapeError, naming op and node, for sizes that one does not take.
        """
        sizes = sizes or {}
        copy = Graph(self.name, {name: limits for name, limits in self.symbols.items() if name not in sizes})
        copy.preprocess, copy.provenance = self.preprocess, dict(self.provenance)
        values = {value: copy.input(value.name, value.type.put_in(sizes)) for value in self.inputs}
        values |= {value: copy.constant(value.data, value.name) for value in self.constants() if value.data is not None}
        for node in self.nodes:
            op = node.op.at(sizes) if sizes else node.op
            if sizes and not node.inputs and not any(value.type.put_in(sizes).symbols() for value in node.outputs):
                infer_types(op, [])  # before its elements are computed
                values[node.output] = copy.constant(op.reference(), op.name)
                continue
            new = copy.add_node(op, *(values[value] for value in node.inputs), origin=node.origin)
            values.update(zip(node.outputs, new.outputs, strict=True))
        for name, value in self.outputs:
            copy.output(name, values[value])
        return copy, values

    def __str__(self) -> str:
        from alula.ir.printer import print_graph  # the printer reads graphs: a module of its own, above this one

        return print_graph(self)


def open_sizes(symbols: dict[str, tuple[int, int]], inputs: Sequence[TensorType]) -> dict[str, tuple[int, int]]:
    """All of the named sizes but the batch: the one that is the first axis of an input by itself."""
    batches = {str(type.shape[0]) for type in inputs if type.rank}
    return {name: limits for name, limits in symbols.items() if name not in batches}


def sole_producer(graph: Graph, value: Value, op: type[Op]) -> Node | None:
    """The node that makes `value` by an `op` for one user alone; None otherwise.  What a fusing pass asks first."""
    node = value.producer
    return node if node is not None and isinstance(node.op, op) and graph.sole_use(value) is not None else None


def constant_arrays(values: Sequence[Value]) -> list[Array] | None:
    """The elements of all `values`; None where one is not constant."""
    arrays = [value.data for value in values if value.data is not None]
    return arrays if len(arrays) == len(values) else None
