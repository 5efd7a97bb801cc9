"""Which element types kernels take: float32 to compute with, any type where elements are only moved."""

from __future__ import annotations

from collections.abc import Sequence

from alula.codegen.kernels.native import ARITHMETIC, is_native
from alula.core.dtype import DType
from alula.core.errors import CodegenError
from alula.ir.graph import Graph, Node
from alula.ir.op import Op
from alula.ops.attention import Attention
from alula.ops.conv import Conv2d
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.elementwise import Cast, Normalize
from alula.ops.gather import Gather, Interpolate, Scatter
from alula.ops.logic import And, Equal, IsNan, Less, LessOrEqual, Not, Or, Where, Xor
from alula.ops.matmul import Linear
from alula.ops.pool import MaxPool2d
from alula.ops.quantize import Dequantize, Quantize, QuantizeRows
from alula.ops.shape import Concat, Expand, Pad, Reshape, Slice, Transpose
from alula.ops.sort import TopK
from alula.ops.unfold import Unfold

TRUTHS: tuple[type[Op], ...] = (Equal, Less, LessOrEqual, And, Or, Xor, Not, IsNan, Where)  # they take or give bool
MOVERS: tuple[type[Op], ...] = (Reshape, Transpose, Slice, Expand, Concat, Pad, Unfold, Gather)
PRODUCTS: tuple[type[Op], ...] = (Conv2d, Linear, Attention)
CASTS = (DType.F32, DType.BF16, DType.U8, DType.I8, DType.I32, DType.BOOL)  # to float32 and from it
SERVED = {  # dtypes of (x, other operands' first, result) that kernels of products have
    (DType.F32, DType.F32, DType.F32),
    (DType.F32, DType.F16, DType.F32),  # the kernel widens the weight
    (DType.U8, DType.I8, DType.I32),
    (DType.BF16, DType.BF16, DType.F32),
}
SCALED = (
    SERVED
    | {(DType.U8, weight, DType.F32) for weight in (DType.F32, DType.F16, DType.BF16)}
    | {(DType.F32, DType.BF16, DType.F32)}
)  # a convolution that scales its input first takes pixels


def check_dtypes(graph: Graph) -> None:
    """Raises CodegenError naming the first node that would have to compute with an element type no kernel has."""
    for node in graph.nodes:
        if isinstance(node.op, MOVERS) or is_native(node):
            continue
        if isinstance(node.op, TopK | Scatter):
            if not (isinstance(node.op, Scatter) and node.op.reduction == "none"):
                _check(node, node.inputs[0].type.dtype, sorted(ARITHMETIC | {DType.F32}, key=str))
            continue
        if isinstance(node.op, Interpolate):
            _check(node, node.inputs[0].type.dtype, (DType.F32,))
            continue
        if isinstance(node.op, TRUTHS):
            for value in node.inputs:
                _check(node, value.type.dtype, (DType.F32, DType.BOOL))
            continue
        if isinstance(node.op, Cast):
            _check_cast(node, node.op)
            continue
        if isinstance(node.op, PRODUCTS):
            _check_product(node)
            continue
        if isinstance(node.op, Quantize | QuantizeRows | Dequantize | DepthwiseConv2d):
            continue  # the op itself takes one dtype alone
        if isinstance(node.op, MaxPool2d):
            _check(node, node.inputs[0].type.dtype, (DType.F32, DType.BF16, DType.U8))
            continue
        first, *others = (value.type for value in (*node.inputs, *node.outputs))
        _check(node, first.dtype, (DType.F32, DType.U8) if isinstance(node.op, Normalize) else (DType.F32,))
        for type in others:
            _check(node, type.dtype, (DType.F32,))


def where(node: Node) -> str:
    """The node in an error message: its op and where it came from."""
    return f"{node.op.name} {node.origin}".rstrip()


def _check_cast(node: Node, op: Cast) -> None:
    source = node.inputs[0].type.dtype
    _check(node, source, CASTS if op.dtype is DType.F32 else (DType.F32,))
    _check(node, op.dtype, CASTS)


def _check_product(node: Node) -> None:
    x, other, *_ = (value.type.dtype for value in node.inputs)
    got = (x, other, node.output.type.dtype)
    if got not in (SCALED if isinstance(node.op, Conv2d) and node.op.scale else SERVED):
        raise CodegenError(f"{where(node)}: expected products of f32, wide bf16 or u8 with i8, got {x} with {other}")
    for bias in node.inputs[3 if isinstance(node.op, Attention) else 2 :]:
        _check(node, bias.type.dtype, (DType.F32,))


def _check(node: Node, dtype: DType, allowed: Sequence[DType]) -> None:
    if dtype not in allowed:
        raise CodegenError(f"{where(node)}: expected {' or '.join(map(str, allowed))}, got {dtype}")
