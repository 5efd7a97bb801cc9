"""Why each product of a model file is computed in the precision that it has."""

from __future__ import annotations

from collections.abc import Mapping

from alula.core.dtype import DType
from alula.ir.graph import Node
from alula.ops.attention import Attention
from alula.ops.conv import Conv2d
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.matmul import Linear, group_of
from alula.ops.quantize import Quantize, QuantizeRows
from alula.passes.hoist_narrowing import VIEWS


def chosen(node: Node) -> str:
    """The precision of a product: int8, bf16, f16 (a weight alone) or f32."""
    dtypes = [value.type.dtype for value in node.inputs[:2]]
    if dtypes[0] is DType.U8 and isinstance(node.op, DepthwiseConv2d):
        return "u8 x i16"
    if node.outputs[0].type.dtype is DType.I32 or getattr(node.op, "byte_values", False):
        return "int8"
    return dtypes[1].value if dtypes[1] in (DType.BF16, DType.F16) else "f32"


def why(label: str, node: Node, precision: str, kept: Mapping[str, str]) -> str:
    """What decided over a product's precision, in a few words; `kept` is what the file says of ops left in float."""
    if not precision.startswith("qint8"):
        return f"{precision}: no bytes"
    if label in kept:
        return kept[label]
    if chosen(node) == "int8" or isinstance(node.op, DepthwiseConv2d):
        return _bytes(node)
    if not isinstance(node.op, Linear | Conv2d):
        return "both operands are computed: no weight to quantise"
    weight = node.inputs[1]
    if not weight.is_constant:
        return "the weight is computed"
    columns = node.inputs[0].type.shape[-1]
    if isinstance(columns, int) and columns % group_of(DType.I8):
        return f"rows of {columns} are no whole words of {group_of(DType.I8)} bytes"
    return "no range of its operand is known: built without calibration"


def _bytes(node: Node) -> str:
    if isinstance(node.op, Attention):
        scores = "a scale for each query and key" if node.op.byte_scores else "scores in float"
        return f"{scores}; weights of 16 bits times values in bytes"
    made_by = node.inputs[0].producer
    while made_by is not None and isinstance(made_by.op, VIEWS):
        made_by = made_by.inputs[0].producer
    if made_by is None:
        return "pixels are bytes"
    if isinstance(made_by.op, QuantizeRows):
        return "a scale for each row, found at run time"
    if isinstance(made_by.op, Quantize):
        few = "; its few weights keep 16 bits" if isinstance(node.op, DepthwiseConv2d) else ""
        return f"one scale, {made_by.op.scale:.4g}, from calibration{few}"
    return "its operand is not in bytes" if isinstance(node.op, DepthwiseConv2d) else "bytes"
