"""A graph as text: what people read, golden tests compare, and the model file's header keeps."""

from __future__ import annotations

from typing import Any

from alula.core.dims import Expr
from alula.core.dtype import DType
from alula.ir.graph import Graph, Node, Value


def print_graph(graph: Graph, *, origins: bool = False) -> str:
    """One line a value, numbered in order; `parse_graph` takes the text back.  `origins` adds where nodes came from."""
    names: dict[Value, str] = {}

    def name(value: Value) -> str:
        return names.setdefault(value, f"%{len(names)}")

    ranges = ", ".join(f"{symbol} in {low}..{high}" for symbol, (low, high) in graph.symbols.items())
    lines = [f"graph {print_attribute(graph.name)} ({ranges}) {{"]
    lines += [f"  {name(value)} = input {print_attribute(value.name)} : {value.type}" for value in graph.inputs]
    lines += [f"  {name(value)} = constant {print_attribute(value.name)} : {value.type}" for value in graph.constants()]
    for node in graph.nodes:
        arguments = ", ".join(name(value) for value in node.inputs)
        results = ", ".join(name(value) for value in node.outputs)
        types = ", ".join(str(value.type) for value in node.outputs)
        comment = f"  # {print_attribute(node.origin)[1:-1]}" if origins and node.origin else ""
        lines.append(f"  {results} = {node.op.name}({arguments}){print_attributes(node)} : {types}{comment}")
    lines += [f"  output {print_attribute(label)} = {name(value)}" for label, value in graph.outputs]
    return "\n".join([*lines, "}", ""])


def print_attributes(node: Node) -> str:
    """` {kernel=(3, 3), stride=(2, 2)}`, or nothing where all attributes have their defaults."""
    items = [f"{key}={print_attribute(value)}" for key, value in node.op.attributes().items()]
    return f" {{{', '.join(items)}}}" if items else ""


def print_attribute(value: Any) -> str:
    """An attribute as a Python-like literal; strings in double quotes, dimensions and dtypes bare."""
    match value:
        case str():
            return f'"{"".join(map(_escaped, value))}"'
        case DType() | Expr():
            return str(value)
        case tuple():
            inner = ", ".join(print_attribute(item) for item in value)
            return f"({inner},)" if len(value) == 1 else f"({inner})"
        case bool() | int() | float():
            return repr(value)
    raise TypeError(f"attribute: expected a literal, dimension or dtype, got {type(value).__name__}")


def _escaped(character: str) -> str:
    if character in '"\\':
        return f"\\{character}"
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
