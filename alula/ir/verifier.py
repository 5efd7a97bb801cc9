"""The invariants every graph keeps.  Generated code is bounds-safe because the verifier accepted its graph."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from alula.core.dims import LARGEST_SIZE, Expr, bounds, symbol
from alula.core.errors import GraphError, ShapeError
from alula.ir.graph import Graph, Node, Value
from alula.ir.literals import is_size_name
from alula.ir.op import OPS, infer_types
from alula.ir.types import TensorType

LARGEST_TENSOR_BYTES = 1 << 46


def verify(graph: Graph) -> None:
    """Raises GraphError naming the first node that breaks an invariant: definition before use, types, uses, ranges."""
    check_sizes(graph.symbols)
    known = _input_sizes(graph)
    defined: set[Value] = set(graph.inputs)
    for value in graph.inputs:
        if value.data is not None or value.producer is not None:
            raise GraphError(f"input {value.name}: expected neither elements nor a producer")
        _check_extent(f"input {value.name}", value.type, known)
    for value in graph.constants():
        if value.data is not None and TensorType.of(value.data) != value.type:
            raise GraphError(f"constant {value.name}: expected {TensorType.of(value.data)}, got {value.type}")
    for number, node in enumerate(graph.nodes):
        where = f"{node.op.name} node {number}" + (f" ({node.origin})" if node.origin else "")
        if OPS.get(node.op.name) is not type(node.op):
            raise GraphError(f"{where}: expected a registered op, got {type(node.op).__name__}")
        if any(not value.is_constant and value not in defined for value in node.inputs):
            raise GraphError(f"{where}: expected operands defined before it, got one that is not")
        _check_types(where, node, known)
        if any(value.producer is not node for value in node.outputs) or not defined.isdisjoint(node.outputs):
            raise GraphError(f"{where}: expected outputs of its own")
        defined.update(node.outputs)
    for name, value in graph.outputs:
        if not value.is_constant and value not in defined:
            raise GraphError(f"output {name}: expected a value of the graph")
    _check_uses(graph, defined)


def check_sizes(sizes: Mapping[str, tuple[int, int]]) -> None:
    """Raises GraphError for a name that graph text could not hold, and for a range that is not 1 <= low <= high."""
    for name, (low, high) in sizes.items():
        if not is_size_name(name):
            raise GraphError(f"size {name!r}: expected an identifier that is no dtype")
        if not 1 <= low <= high <= LARGEST_SIZE:
            raise GraphError(f"size {name}: expected 1 <= low <= high <= {LARGEST_SIZE}, got {low}..{high}")


def _input_sizes(graph: Graph) -> dict[str, tuple[int, int]]:
    """The sizes that a run can know: those that are a dimension of an input by themselves."""
    dims = {dim for value in graph.inputs for dim in value.type.shape if isinstance(dim, Expr)}
    return {name: limits for name, limits in graph.symbols.items() if symbol(name) in dims}


def _check_types(where: str, node: Node, known: Mapping[str, tuple[int, int]]) -> None:
    try:
        inferred = infer_types(node.op, [value.type for value in node.inputs])
    except ShapeError as error:
        raise GraphError(f"{where}: {error}") from None
    types = tuple(value.type for value in node.outputs)
    if inferred != types:
        raise GraphError(f"{where}: expected {', '.join(map(str, inferred))}, got {', '.join(map(str, types))}")
    for type in types:
        _check_extent(where, type, known)
    for expr in _expressions(tuple(node.op.attributes().values())):
        _check_known(where, expr.symbols(), known)


def _check_extent(where: str, type: TensorType, known: Mapping[str, tuple[int, int]]) -> None:
    _check_known(where, type.symbols(), known)
    most = type.dtype.bytes
    for dim in type.shape:
        low, high = bounds(dim, known)
        if low < 0:
            raise GraphError(f"{where}: expected dimensions that are certainly >= 0, got {type}")
        most *= high
    if most > LARGEST_TENSOR_BYTES:
        raise GraphError(f"{where}: expected at most {LARGEST_TENSOR_BYTES} bytes, got {type}")


def _check_known(where: str, names: set[str], known: Mapping[str, tuple[int, int]]) -> None:
    if unknown := sorted(names - set(known)):
        raise GraphError(f"{where}: expected sizes that an input has as a dimension {sorted(known)}, got {unknown}")


def _check_uses(graph: Graph, defined: set[Value]) -> None:
    uses: dict[Value, list[Node]] = {}
    for node in graph.nodes:
        for value in node.inputs:
            uses.setdefault(value, []).append(node)
    for value in [*defined, *graph.constants()]:
        if Counter(map(id, value.uses)) != Counter(map(id, uses.get(value, []))):
            raise GraphError(f"value {value.type}: expected {len(uses.get(value, []))} uses, got {len(value.uses)}")


def _expressions(value: Any) -> Iterator[Expr]:
    if isinstance(value, Expr):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _expressions(item)
