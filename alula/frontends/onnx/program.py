"""The walk over a model's nodes: each is computed now where all is known, else imported by its operator's function."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from onnx import AttributeProto, GraphProto, NodeProto
from onnx.defs import SchemaError, get_schema

from alula.core.dtype import Array
from alula.core.errors import GraphError, ImportFailed, ShapeError, UnsupportedOperator, UsageError
from alula.frontends.call import Refused
from alula.frontends.onnx import DimRange
from alula.frontends.onnx.call import COUNTS, FOLDS, IMPORTS, Call, Operand, Places, Sizes, sizes_or_constant
from alula.frontends.onnx.control import loop, scan
from alula.frontends.onnx.functions import Functions
from alula.frontends.onnx.inputs import input_types
from alula.frontends.onnx.nodes import (
    attribute_kinds,
    captured,
    check_arguments,
    inputs_of,
    needed,
    number,
    operator_name,
    takes_sizes,
    value_type,
    why_unknown,
)
from alula.frontends.onnx.source import Source
from alula.ir.graph import Graph, Value
from alula.ir.verifier import verify

FAMILIES = (
    "conv",
    "create",
    "fused",
    "indexing",
    "integer",
    "math",
    "matmul",
    "microsoft",
    "norm",
    "places",
    "pool",
    "quantize",
    "recurrent",
    "reduce",
    "resize",
    "sample",
    "shape",
    "sizes",
)
UNROLLED = {"Loop": loop, "Scan": scan}
MOST_NODES = 50_000
DEEPEST = 32  # graphs and functions in each other
LARGEST_FOLD = 1 << 20  # elements of integers that are computed one by one
NAMED = 4  # nodes of one operator in a message

for _family in FAMILIES:  # importing them fills the tables
    import_module(f"alula.frontends.onnx.{_family}")

Scope = ChainMap[str, Any]
UNKNOWN = object()  # what a refused node gave


def import_model(source: Source, dim_range: DimRange | None, constants: Mapping[str, Array]) -> Graph:
    """The graph of a model.  Raises UnsupportedOperator for all operators that we do not know at once."""
    graph = Reader(source, dim_range, constants).read()
    try:
        verify(graph)
    except GraphError as error:
        raise ImportFailed(f"onnx {source.name}: {error}") from error
    return graph


class Reader:
    """One walk.  A scope gives what each name stands for: a Value, Sizes, or UNKNOWN; `scope` is the whole model's."""

    def __init__(self, source: Source, dim_range: DimRange | None, constants: Mapping[str, Array]) -> None:
        self.source, self.given = source, constants
        self.proto = source.model.graph
        self.functions = Functions(source.model)
        taken = source.inputs
        if unknown := sorted(set(constants) - {value.name for value in taken}):
            raise UsageError(f"constants of {source.name}: expected names of inputs, got {', '.join(unknown)}")
        self.types, ranges = input_types([value for value in taken if value.name not in constants], dim_range)
        self.graph = Graph(self.proto.name or "model", ranges)
        self.views: dict[tuple[Value, object], Value] = {}
        self.refusals: dict[str, list[str]] = {}
        self.unknown: set[str] = set()
        self.scope: Scope = ChainMap()
        self.count = 0

    def read(self) -> Graph:
        """The whole model."""
        for name, type in self.types.items():
            self._define(self.scope, name, self.graph.input(name, type))
        for name, array in self.given.items():
            self._define(self.scope, name, self.graph.constant(np.asarray(array), name))
        found = self._run(self.proto, self.scope, 0)
        self.graph.origin = ""
        if self.refusals:
            raise UnsupportedOperator(
                f"onnx {self.source.name}: expected operators that Alula knows, got {self._listing()}",
                frozenset(self.unknown),
            )
        if not found:
            raise ImportFailed(f"onnx {self.source.name}: expected at least one output, got none")
        for value, result in zip(self.proto.output, found, strict=True):
            if not isinstance(result, Value):
                raise ImportFailed(f"onnx output {value.name}: expected a tensor, got sizes of the batch")
            self.graph.output(value.name, result)
        return self.graph

    def _run(self, proto: GraphProto, scope: Scope, depth: int) -> list[Operand]:
        """What the outputs of a graph stand for, its nodes being read into `scope`."""
        if depth > DEEPEST:
            raise ImportFailed(f"onnx {self.source.name}: expected at most {DEEPEST} graphs in each other, got more")
        if proto.sparse_initializer:
            raise ImportFailed(f"onnx {self.source.name}: expected dense weights, got sparse ones")
        if len(proto.node) > MOST_NODES:
            raise ImportFailed(f"onnx {self.source.name}: expected at most {MOST_NODES} nodes, got {len(proto.node)}")
        wanted = [value.name for value in proto.output]
        live = needed(proto.node, wanted)
        taken = {name for node in live for name in node.input} | {*wanted} | captured(live)
        for tensor in proto.initializer:
            if tensor.name in taken:
                self._define(scope, tensor.name, self.graph.constant(self.source.array(tensor), tensor.name))
        for node in live:
            self._node(node, scope, depth)
        return [self._lookup(scope, name, "output") for name in wanted]

    def _define(self, scope: Scope, name: str, value: Any) -> None:
        self._check_texts(name)
        if name in scope.maps[0]:
            raise ImportFailed(f"onnx value {name}: expected one definition, got two")
        scope[name] = value

    def _check_texts(self, *texts: object) -> None:
        """Names that are not UTF-8 come as bytes."""
        if damaged := [text for text in texts if not isinstance(text, str)]:
            raise ImportFailed(f"onnx {self.source.name}: expected names in UTF-8, got {damaged[0]!r:.60}")

    def _lookup(self, scope: Scope, name: str, where: str) -> Any:
        if not name:
            return None
        if name not in scope:
            raise ImportFailed(f"onnx {where}: expected operands that are defined before it, got {name!r:.80}")
        return scope[name]

    def _node(self, node: NodeProto, scope: Scope, depth: int) -> None:
        self._check_texts(node.op_type, node.domain, node.name, *node.input, *(item.name for item in node.attribute))
        self.count += 1
        if self.count > MOST_NODES:
            raise ImportFailed(f"onnx {self.source.name}: expected at most {MOST_NODES} nodes, got more")
        name = node.name or next(iter(node.output), "")
        where = f"{node.op_type} {name}".strip()
        operands = [self._lookup(scope, operand, where) for operand in node.input]
        if any(operand is UNKNOWN for operand in operands):
            if not self._known(node):
                self._refuse(node, name, "")
            results: Sequence[Any] = [UNKNOWN] * len(node.output)
        else:
            self.graph.origin = name
            results = self._results(node, name, where, operands, scope, depth)
        for output, result in zip(node.output, [*results, *[None] * len(node.output)], strict=False):
            if output:
                self._define(scope, output, result)

    def _known(self, node: NodeProto) -> bool:
        named = operator_name(node)
        ours = named == "If" or any(named in table for table in (IMPORTS, FOLDS, UNROLLED))
        return ours or self.functions.find(node, self.source.opset) is not None

    def _results(
        self, node: NodeProto, name: str, where: str, operands: list[Operand], scope: Scope, depth: int
    ) -> Sequence[Any]:
        try:
            return self._imported(node, operands, scope, depth)
        except Refused as refusal:
            self._refuse(node, name, str(refusal))
            self.unknown |= inputs_of(refusal.unknown)
        except UnsupportedOperator:
            raise
        except (ShapeError, GraphError) as error:
            raise ImportFailed(f"onnx {where}: {error}") from error
        return [UNKNOWN] * len(node.output)

    def _imported(self, node: NodeProto, operands: list[Operand], scope: Scope, depth: int) -> Sequence[Any]:
        wanted = max((place + 1 for place, output in enumerate(node.output) if output), default=0)
        named = operator_name(node)
        if named == "If":
            return self._branch(node, operands, scope, depth)
        if named in UNROLLED:
            return self._unrolled(node, operands, scope, depth)
        function = None if named in IMPORTS else self.functions.find(node, self.source.opset)
        if function is not None:
            return self._function(node, operands, depth)
        if named not in IMPORTS | FOLDS:
            raise Refused(why_unknown(named))
        self._check_kinds(node)
        call = Call(self.graph, self._attributes(node), self._version(named), wanted, views=self.views)
        if any(isinstance(operand, Places) for operand in operands):
            result = _counted(call, named, operands)
        else:
            result = self._folded(call, named, operands)
        if result is None:
            result = self._converted(call, named, operands)
        call.check_read()
        results = [result] if isinstance(result, Value | Sizes | Places) else list(result)
        if any(value is None for value in results[:wanted]) or len(results) < wanted:
            missing = next(place for place in range(wanted) if place >= len(results) or results[place] is None)
            if node.output[missing]:
                raise Refused(f"with its result {missing}")
        return results

    def _folded(self, call: Call, name: str, operands: list[Operand]) -> Any:
        """The result of integers that are all known; None where they are not, or where too many would come of it."""
        if name not in FOLDS or not operands:
            return None
        arrays: list[Array | None] = []
        for operand in operands:
            if isinstance(operand, Sizes):
                arrays.append(operand.dims)
            elif operand is None:
                arrays.append(None)
            elif (
                not isinstance(operand, Value)
                or operand.data is None
                or operand.data.dtype.kind not in "biu"
                or operand.data.size > LARGEST_FOLD
            ):
                return None
            else:
                arrays.append(operand.data)
        check_arguments(FOLDS[name], call, arrays)
        found = FOLDS[name](call, *arrays)
        if found is None or isinstance(found, Places):
            return found
        if isinstance(found, list):
            return [sizes_or_constant(call, np.asarray(item)) for item in found]
        return sizes_or_constant(call, np.asarray(found))

    def _converted(self, call: Call, name: str, operands: list[Operand]) -> Any:
        if name not in IMPORTS:
            unknown = [value for value in operands if isinstance(value, Value)]
            raise Refused(why_unknown(name) or "of operands that are not constant", *unknown)
        importer = IMPORTS[name]
        check_arguments(importer, call, operands)
        takes = takes_sizes(importer)
        for place, operand in enumerate(operands):
            if isinstance(operand, Sizes) and place not in takes:
                raise Refused("with a number computed from the batch")
        return importer(call, *operands)

    def _check_kinds(self, node: NodeProto) -> None:
        """Attributes are numbers, texts or lists of those as the operator's definition says."""
        kinds = attribute_kinds(operator_name(node), self.source.opset)
        for item in node.attribute:
            if (kind := kinds.get(item.name, item.type)) != item.type:
                wanted, got = (AttributeProto.AttributeType.Name(k) for k in (kind, item.type))
                where = f"onnx {node.op_type} {node.name or next(iter(node.output), '')}"
                raise ImportFailed(f"{where}: expected attribute {item.name} of type {wanted}, got {got}")

    def _attributes(self, node: NodeProto) -> dict[str, Any]:
        return {item.name: self._attribute(item) for item in node.attribute}

    def _attribute(self, item: AttributeProto) -> Any:
        kinds = AttributeProto
        match item.type:
            case kinds.FLOAT:
                return number(item.f)
            case kinds.INT:
                return item.i
            case kinds.STRING:
                return item.s.decode(errors="replace")
            case kinds.FLOATS:
                return [number(value) for value in item.floats]
            case kinds.INTS:
                return list(item.ints)
            case kinds.STRINGS:
                return [text.decode(errors="replace") for text in item.strings]
            case kinds.TENSOR:
                return self.source.array(item.t)
        raise Refused(f"with attribute {item.name} of an unknown type")

    def _version(self, name: str) -> int:
        """The opset in which the operator became what it is in the model's."""
        try:
            return int(get_schema(name, self.source.opset, "").since_version)
        except SchemaError:
            return self.source.opset

    def _branch(self, node: NodeProto, operands: list[Operand], scope: Scope, depth: int) -> Sequence[Any]:
        """The nodes of the branch that a constant condition chooses, in the place of the node."""
        condition = operands[0] if operands else None
        if not isinstance(condition, Value) or condition.data is None or condition.data.size != 1:
            raise Refused(
                "with a condition that is not constant", *([condition] if isinstance(condition, Value) else [])
            )
        chosen = "then_branch" if bool(condition.data.reshape(-1)[0]) else "else_branch"
        graph = next((item.g for item in node.attribute if item.name == chosen), None)
        if graph is None or len(graph.output) != len(node.output):
            raise ImportFailed(f"onnx If {node.name}: expected {chosen} with {len(node.output)} outputs, got another")
        return self._run(graph, scope.new_child(), depth + 1)

    def _unrolled(self, node: NodeProto, operands: list[Operand], scope: Scope, depth: int) -> Sequence[Any]:
        """The nodes of a body once for each turn, in the place of the node."""
        graph = next((item.g for item in node.attribute if item.name == "body"), None)
        if graph is None:
            raise ImportFailed(f"onnx {node.op_type} {node.name}: expected a body, got none")

        def body(values: Sequence[Operand]) -> Sequence[Operand]:
            if len(values) != len(graph.input) or len(graph.output) < 1:
                raise ImportFailed(f"onnx {node.op_type} {node.name}: expected {len(values)} inputs, got another body")
            inner = scope.new_child()
            for value, operand in zip(graph.input, values, strict=True):
                self._define(inner, value.name, operand)
            results = self._run(graph, inner, depth + 1)
            if any(result is UNKNOWN for result in results):
                raise Refused("with such a body")
            return results

        self._check_kinds(node)
        attributes = {item.name: self._attribute(item) for item in node.attribute if item.name != "body"}
        call = Call(self.graph, attributes, self._version(node.op_type), len(node.output), views=self.views)
        results = UNROLLED[node.op_type](call, body, operands)
        call.check_read()
        return results

    def _function(self, node: NodeProto, operands: list[Operand], depth: int) -> Sequence[Any]:
        """The nodes of a function, in the place of the node that calls it."""
        if depth > DEEPEST:
            raise ImportFailed(f"onnx {node.op_type}: expected at most {DEEPEST} functions in each other, got more")
        types = [value_type(operand) for operand in operands]
        body = self.functions.body(node, self.source.opset, types)
        if body is None:
            raise Refused("")
        scope: Scope = ChainMap()
        for name, operand in zip(body.input, [*operands, *[None] * len(body.input)], strict=False):
            scope[name] = operand
        for inner in needed(body.node, body.output):
            self._node(self.functions.bound(inner, node, body), scope, depth + 1)
        named = [*node.output, *[""] * len(body.output)]
        results = [
            self._lookup(scope, name, node.op_type) if wanted else None
            for name, wanted in zip(body.output, named, strict=False)
        ]
        if any(result is UNKNOWN for result in results) and not self.refusals:
            raise Refused("")
        return results

    def _refuse(self, node: NodeProto, name: str, form: str) -> None:
        self.refusals.setdefault(f"{operator_name(node)} {form}".strip(), []).append(name)

    def _listing(self) -> str:
        def entry(what: str, names: list[str]) -> str:
            more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
            return f"{what} (at {', '.join(name or 'a node without a name' for name in names[:NAMED])}{more})"

        return "; ".join(entry(what, names) for what, names in self.refusals.items())


def _counted(call: Call, name: str, operands: list[Operand]) -> Any:
    """The result of operands of which some count the batch."""
    if name not in COUNTS:
        raise Refused("of numbers that count the batch")
    check_arguments(COUNTS[name], call, operands)
    return COUNTS[name](call, *operands)
