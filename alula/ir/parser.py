"""Text back to a graph.  The text may be hostile: what is not a graph raises GraphError, and nothing is executed."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import MISSING, fields
from itertools import takewhile

from alula.core.dims import Dim, Expr
from alula.core.dtype import Array, DType
from alula.core.errors import AlulaError, GraphError
from alula.ir.graph import Graph, Value
from alula.ir.literals import NAME, STRING, parse_keywords, parse_literal, unescaped
from alula.ir.op import OPS, Op
from alula.ir.types import TensorType
from alula.ir.verifier import check_sizes

Constants = Callable[[int, str, TensorType], Array]

SHAPE_OF_TEXT = "graph text: expected 'graph \"name\" (...) {' ... '}'"

LONGEST_LINE = 65_536
_ATTRIBUTES = rf'(?:[^"{{}}]|{STRING})*'
_HEAD = re.compile(rf"graph ({STRING}) \((.*)\) \{{")
_RANGE = re.compile(rf"({NAME}) in ([0-9]{{1,12}})\.\.([0-9]{{1,12}})")
_LEAF = re.compile(rf"  %([0-9]+) = (input|constant) ({STRING}) : (\S+)")
_VALUES = r"%[0-9]+(?:, %[0-9]+)*"
_NODE = re.compile(rf'  ({_VALUES}) = ({NAME})\((|{_VALUES})\)(?: \{{({_ATTRIBUTES})\}})? : ([^#{{}}"]+?)(?:  # (.*))?')
_OUTPUT = re.compile(rf"  output ({STRING}) = %([0-9]+)")
_TYPE = re.compile(r"(\w+)\[([^\[\]]*)\]")
_DTYPES = {dtype.value: dtype for dtype in DType}


def parse_graph(text: str, constants: Constants) -> Graph:
    """The graph that `print_graph` printed; `constants(index, name, type)` gives each constant's elements.

    Types are inferred anew and must equal those in the text.  Raises GraphError naming the line.
    """
    lines = text.split("\n")
    if lines[-2:] != ["}", ""]:
        raise GraphError(SHAPE_OF_TEXT)
    graph = Graph(*_parse_head(lines[0]))
    reader = _Reader(graph, constants)
    for number, line in enumerate(lines[1:-2], start=2):
        try:
            if len(line) > LONGEST_LINE:
                raise GraphError(f"expected at most {LONGEST_LINE} characters, got {len(line)}")
            reader.read(line)
        except (
            AlulaError,
            ValueError,
            TypeError,
            LookupError,
            AttributeError,
            ArithmeticError,
            RecursionError,
        ) as error:
            # What an op makes of hostile attributes is not foreseen one by one.
            raise GraphError(f"graph text line {number}: {error}") from None
    return graph


class _Reader:
    def __init__(self, graph: Graph, constants: Constants) -> None:
        self.graph, self.source = graph, constants
        self.values: dict[str, Value] = {}
        self.constant_count = 0

    def read(self, line: str) -> None:
        if match := _NODE.fullmatch(line):
            self.node(*match.groups())
        elif match := _LEAF.fullmatch(line):
            self.leaf(*match.groups())
        elif match := _OUTPUT.fullmatch(line):
            self.graph.output(_name(match[1]), self.value(match[2]))
        else:
            raise GraphError(f"expected an input, constant, node or output, got {line[:80]!r}")

    def leaf(self, number: str, kind: str, label: str, written: str) -> None:
        name, type = _name(label), parse_type(written)
        if unknown := type.symbols() - set(self.graph.symbols):
            raise GraphError(f"expected sizes among {sorted(self.graph.symbols)}, got {sorted(unknown)}")
        if kind == "input":
            self.define(number, self.graph.input(name, type))
            return
        value = self.graph.constant(self.source(self.constant_count, name, type), name)
        if value.type != type:
            raise GraphError(f"constant {name}: expected {type}, got {value.type}")
        self.constant_count += 1
        self.define(number, value)

    def node(
        self, results: str, name: str, arguments: str, attributes: str | None, types: str, origin: str | None
    ) -> None:
        op = parse_op(name, attributes or "")
        inputs = [self.value(item.removeprefix("%")) for item in arguments.split(", ") if item]
        node = self.graph.add_node(op, *inputs, origin=unescaped(origin or ""))
        numbers = [item.removeprefix("%") for item in results.split(", ")]
        inferred = ", ".join(str(value.type) for value in node.outputs)
        if inferred != types or len(numbers) != len(node.outputs):
            raise GraphError(f"{name}: expected {inferred}, got {types[:200]}")
        for number, value in zip(numbers, node.outputs, strict=True):
            self.define(number, value)

    def value(self, number: str) -> Value:
        if number not in self.values:
            raise GraphError(f"expected a value defined above, got %{number[:40]}")
        return self.values[number]

    def define(self, number: str, value: Value) -> None:
        if self.values.setdefault(number, value) is not value:
            raise GraphError(f"%{number[:40]}: expected one definition")


def parse_op(name: str, attributes: str) -> Op:
    """The op called `name` with attributes `key=value, ...`.  Raises GraphError for what it does not have."""
    if name not in OPS:
        raise GraphError(f"expected a known op, got {name[:40]!r}")
    given, known = parse_keywords(attributes), fields(OPS[name])  # type: ignore[arg-type]
    if unknown := sorted(set(given) - {field.name for field in known}):
        raise GraphError(
            f"{name}: expected attributes among {[field.name for field in known]}, got {unknown[0][:40]!r}"
        )
    if missing := [field.name for field in known if field.default is MISSING and field.name not in given]:
        raise GraphError(f"{name}: expected attribute {missing[0]}, got none")
    return OPS[name](**given)


def parse_type(text: str) -> TensorType:
    """The type printed as `f32[N,3,224,224]`."""
    match = _TYPE.fullmatch(text)
    if match is None or match[1] not in _DTYPES:
        raise GraphError(f"expected dtype[shape], got {text[:80]!r}")
    return TensorType(_DTYPES[match[1]], tuple(_dimension(item) for item in match[2].split(",") if match[2]))


def _dimension(text: str) -> Dim:
    dim = parse_literal(text)
    if type(dim) is int or isinstance(dim, Expr):
        return dim
    raise GraphError(f"expected a dimension, got {text[:80]!r}")


def _name(literal: str) -> str:
    return str(parse_literal(literal))


def parse_inputs(text: str) -> tuple[dict[str, tuple[int, int]], list[TensorType]]:
    """Of a graph's text the ranges of its sizes, and the types of its inputs.  Raises GraphError."""
    lines = text.split("\n")
    _, ranges = _parse_head(lines[0])
    leaves = takewhile(lambda match: match is not None and match[2] == "input", map(_LEAF.fullmatch, lines[1:]))
    return ranges, [parse_type(leaf[4]) for leaf in leaves if leaf is not None]


def _parse_head(line: str) -> tuple[str, dict[str, tuple[int, int]]]:
    head = _HEAD.fullmatch(line)
    if head is None:
        raise GraphError(SHAPE_OF_TEXT)
    return _name(head[1]), _parse_ranges(head[2])


def _parse_ranges(text: str) -> dict[str, tuple[int, int]]:
    ranges: dict[str, tuple[int, int]] = {}
    for item in text.split(", ") if text else []:
        match = _RANGE.fullmatch(item)
        if match is None or match[1] in ranges:
            raise GraphError(f"graph text line 1: expected 'name in low..high' once each, got {item[:80]!r}")
        ranges[match[1]] = (int(match[2]), int(match[3]))
    check_sizes(ranges)
    return ranges
