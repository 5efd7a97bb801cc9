"""Operators that are made of others: the model's own functions, and those that ONNX itself defines so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from google.protobuf.message import DecodeError
from onnx import AttributeProto, FunctionProto, ModelProto, NodeProto, TypeProto
from onnx.defs import SchemaError, get_schema

from alula.frontends.onnx.source import DEFAULT_DOMAINS, DTYPES
from alula.ir.types import TensorType

CODES = {dtype: code for code, dtype in DTYPES.items()}


class Functions:
    """Where a node's operator is found as a function."""

    def __init__(self, model: ModelProto) -> None:
        self.own = {(f.domain, f.name, f.overload): f for f in model.functions}

    def find(self, node: NodeProto, opset: int) -> Any:
        """The function that the node calls; None where it calls none."""
        own = self.own.get((node.domain, node.op_type, node.overload))
        if own is not None or node.domain not in DEFAULT_DOMAINS:
            return own
        try:
            schema: Any = get_schema(node.op_type, opset, "")
        except SchemaError:
            return None
        return schema if schema.has_function or schema.has_context_dependent_function else None

    def body(self, node: NodeProto, opset: int, types: Sequence[TensorType | None]) -> FunctionProto | None:
        """The function's nodes, for operands of these types."""
        found: Any = self.find(node, opset)
        if found is None or isinstance(found, FunctionProto):
            return found
        body = FunctionProto()
        try:
            if found.has_function:
                version = max((v for v in found.function_opset_versions if v <= opset), default=None)
                data = None if version is None else found.get_function_with_opset_version(version)
            else:
                versions = [v for v in found.context_dependent_function_opset_versions if v <= opset]
                operands = [_described(type) for type in types]
                data = (
                    found.get_context_dependent_function_with_opset_version(
                        max(versions), node.SerializeToString(), operands
                    )
                    if versions
                    else None
                )
        except (SchemaError, RuntimeError):
            return None
        if not data:
            return None
        try:
            body.ParseFromString(data)
        except DecodeError:
            return None
        for name in found.attributes:
            default = found.attributes[name].default_value
            if default.name and name not in {item.name for item in body.attribute_proto}:
                body.attribute_proto.append(default)
        return body

    def bound(self, inner: NodeProto, caller: NodeProto, body: FunctionProto) -> NodeProto:
        """A node of the body with the attributes that it takes from the caller put in."""
        if not any(item.ref_attr_name for item in inner.attribute):
            return inner
        given = {item.name: item for item in (*body.attribute_proto, *caller.attribute)}
        node = NodeProto()
        node.CopyFrom(inner)
        del node.attribute[:]
        for item in inner.attribute:
            if not item.ref_attr_name:
                node.attribute.append(item)
            elif item.ref_attr_name in given:
                value = AttributeProto()
                value.CopyFrom(given[item.ref_attr_name])
                value.name = item.name
                node.attribute.append(value)
        return node


def _described(type: TensorType | None) -> bytes:
    """A type as ONNX writes it."""
    proto = TypeProto()
    if type is not None:
        proto.tensor_type.elem_type = CODES[type.dtype]
        for dim in type.shape:
            size = proto.tensor_type.shape.dim.add()
            if isinstance(dim, int):
                size.dim_value = dim
            else:
                size.dim_param = str(dim)
    return bytes(proto.SerializeToString())
