"""What the walk over a model reads off its nodes: kinds of attributes, what is needed, what comes from where."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from onnx import NodeProto
from onnx.defs import SchemaError, get_schema

from alula.core.dtype import DType
from alula.frontends.call import Refused
from alula.frontends.onnx.call import Call, Operand, Places
from alula.frontends.onnx.source import DEFAULT_DOMAINS
from alula.ir.graph import Value
from alula.ir.types import TensorType

DECIDED = {  # operators whose results have sizes that only a run decides
    "Compress": "elements are chosen",
    "NonMaxSuppression": "boxes are kept",
    "NonZero": "elements are not 0",
    "Unique": "elements differ",
}


def operator_name(node: NodeProto) -> str:
    """What its importer is registered as: the domain stands before it, unless that is ONNX's own."""
    return node.op_type if node.domain in DEFAULT_DOMAINS else f"{node.domain}.{node.op_type}"


@cache
def attribute_kinds(name: str, opset: int) -> Mapping[str, int]:
    """The types that an operator's attributes have, as ONNX numbers them."""
    try:
        attributes = get_schema(name, opset, "").attributes
    except SchemaError:
        return {}
    kinds: dict[str, Any] = {key: attribute.type for key, attribute in attributes.items()}
    return {key: int(kind.value) for key, kind in kinds.items()}


def why_unknown(name: str) -> str:
    """Why an operator has no importer, where there is more to say."""
    return f"whose result is as long as {DECIDED[name]}: only a run decides" if name in DECIDED else ""


def check_arguments(function: Any, call: Call, operands: Sequence[Any]) -> None:
    """Raise Refused for operands that an importer does not take, or where one that it needs is left out."""
    try:
        inspect.signature(function).bind(call, *operands)
    except TypeError as error:
        raise Refused(f"with these operands: {error}") from None
    required = [
        parameter
        for parameter in list(inspect.signature(function).parameters.values())[1:]
        if parameter.default is inspect.Parameter.empty and parameter.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD
    ]
    parameters = inspect.signature(function).parameters.values()
    many = any(p.kind is inspect.Parameter.VAR_POSITIONAL and p.annotation == "Value" for p in parameters)
    if any(operand is None for operand in (operands if many else operands[: len(required)])):
        raise Refused("without an operand that it needs")


def number(value: float) -> float:
    """What was written for a float32 attribute: 1e-5 for 9.999999747378752e-06."""
    return float(str(np.float32(value)))


def takes_sizes(importer: Any) -> set[int]:
    """The places of operands that may be sizes: those annotated as `Operand`."""
    parameters = list(inspect.signature(importer).parameters.values())[1:]
    return {place for place, parameter in enumerate(parameters) if parameter.annotation == "Operand"}


def needed(nodes: Sequence[NodeProto], outputs: Sequence[str]) -> list[NodeProto]:
    """The nodes that the outputs depend on, in their order."""
    wanted, live = set(outputs), []
    for node in reversed(nodes):
        if any(output in wanted for output in node.output):
            live.append(node)
            wanted.update(node.input)
            wanted.update(captured([node]))
    return live[::-1]


def captured(nodes: Sequence[NodeProto]) -> set[str]:
    """The names that graphs inside the nodes take from around them, and perhaps others."""
    names: set[str] = set()
    pending = [item.g for node in nodes for item in node.attribute if item.HasField("g")]
    while pending:
        graph = pending.pop()
        names.update(value.name for value in graph.output)
        for node in graph.node:
            names.update(node.input)
            pending += [item.g for item in node.attribute if item.HasField("g")]
    return names


def inputs_of(values: Sequence[Value]) -> set[str]:
    """The names of the inputs that values are computed from."""
    names, pending, seen = set(), list(values), set(values)
    while pending:
        value = pending.pop()
        if value.producer is None and value.data is None:
            names.add(value.name)
        sources = [] if value.producer is None else [v for v in value.producer.inputs if v not in seen]
        seen.update(sources)
        pending += sources
    return names


def value_type(operand: Operand) -> TensorType | None:
    """The type of an operand."""
    if isinstance(operand, Value):
        return operand.type
    if operand is None:
        return None
    return TensorType(DType.I64, operand.shape if isinstance(operand, Places) else operand.dims.shape)
