"""Importers of ONNX Runtime's own operators on quantised tensors, which its quantiser writes beside ONNX's QLinearConv.

Each stands for the operator of that name between quantise and dequantise; passes find what can be done in bytes.
Source: ONNX Runtime's list of contributed operators, domain com.microsoft.
"""

from __future__ import annotations

from alula.core.dtype import DType
from alula.frontends.onnx.call import Call, axis_of, imports
from alula.frontends.onnx.integer import numbers
from alula.frontends.onnx.matmul import gemm
from alula.frontends.onnx.pool import average_pool, global_average_pool
from alula.frontends.onnx.quantize import dequantize, quantize
from alula.frontends.onnx.shape import join
from alula.ir.graph import Value
from alula.ir.op import Op
from alula.ops import elementwise as ops
from alula.ops.softmax import Softmax

DOMAIN = "com.microsoft"

imports(f"{DOMAIN}.DequantizeLinear")(dequantize)
imports(f"{DOMAIN}.QuantizeLinear")(quantize)


def _import_binary(name: str, op: Op) -> None:
    @imports(f"{DOMAIN}.{name}")
    def binary(
        call: Call, a: Value, sa: Value, za: Value | None, b: Value, sb: Value, zb: Value | None, sy: Value, zy: Value
    ) -> Value:
        return quantize(call, call.add(op, dequantize(call, a, sa, za), dequantize(call, b, sb, zb)), sy, zy)


_import_binary("QLinearAdd", ops.Add())
_import_binary("QLinearMul", ops.Mul())


@imports(f"{DOMAIN}.QLinearSigmoid")
def sigmoid(call: Call, x: Value, sx: Value, zx: Value | None, sy: Value, zy: Value) -> Value:
    """1 / (1 + exp(-x))."""
    return quantize(call, call.add(ops.Sigmoid(), dequantize(call, x, sx, zx)), sy, zy)


@imports(f"{DOMAIN}.QLinearLeakyRelu")
def leaky_relu(call: Call, x: Value, sx: Value, zx: Value | None, sy: Value, zy: Value) -> Value:
    """x, or x * alpha below 0."""
    slope = float(call.get("alpha", 0.01))
    return quantize(call, call.add(ops.LeakyRelu(slope=slope), dequantize(call, x, sx, zx)), sy, zy)


@imports(f"{DOMAIN}.QLinearSoftmax")
def softmax(call: Call, x: Value, sx: Value, zx: Value | None, sy: Value, zy: Value) -> Value:
    """exp(x) / sum(exp(x)) along an axis, which has to be the last one before opset 13: it was all from it on."""
    axis = axis_of(call, call.get("axis", -1), x.type.rank)
    if call.get("opset") < 13 and axis != x.type.rank - 1:
        call.refuse(f"over the axes from {axis} on")
    return quantize(call, call.add(Softmax(axis=axis), dequantize(call, x, sx, zx)), sy, zy)


@imports(f"{DOMAIN}.QLinearAveragePool")
def mean_of_windows(call: Call, x: Value, sx: Value, zx: Value | None, sy: Value, zy: Value) -> Value:
    """The mean of each window."""
    _check_channels(call)
    return quantize(call, average_pool(call, dequantize(call, x, sx, zx)), sy, zy)


@imports(f"{DOMAIN}.QLinearGlobalAveragePool")
def mean_of_all(call: Call, x: Value, sx: Value, zx: Value | None, sy: Value, zy: Value) -> Value:
    """Mean over all axes after batch and channels."""
    _check_channels(call)
    return quantize(call, global_average_pool(call, dequantize(call, x, sx, zx)), sy, zy)


def _check_channels(call: Call) -> None:
    if call.get("channels_last", 0):
        call.refuse("with channels last")


@imports(f"{DOMAIN}.QLinearConcat")
def concat(call: Call, sy: Value, zy: Value, *parts: Value) -> Value:
    """Tensors, each followed by its scale and zero, one after the other along an axis."""
    if not parts or len(parts) % 3:
        call.refuse(f"of {len(parts)} operands: tensors, scales and zeros")
    axis = axis_of(call, call.get("axis"), parts[0].type.rank)
    tensors = [dequantize(call, *parts[n : n + 3]) for n in range(0, len(parts), 3)]
    return quantize(call, join(call, tensors, axis), sy, zy)


@imports(f"{DOMAIN}.QGemm")
def quantised_gemm(
    call: Call,
    a: Value,
    sa: Value,
    za: Value,
    b: Value,
    sb: Value,
    zb: Value,
    c: Value | None = None,
    sy: Value | None = None,
    zy: Value | None = None,
) -> Value:
    """alpha * a @ b + c, either matrix perhaps turned, c in steps of alpha * sa * sb; float32 where there is no sy."""
    columns = (-1, 1) if call.get("transB", 0) else (1, -1)
    step = call.add(ops.Mul(), call.reshape(sa), call.constant(call.get("alpha", 1.0), DType.F32))
    steps = call.add(ops.Mul(), step, call.reshape(sb) if sb.type.elements == 1 else sb)
    added = None if c is None else call.add(ops.Mul(), call.cast(c, DType.F32), steps)
    y = gemm(call, dequantize(call, a, sa, za), numbers(call, b, sb, zb, columns), added)
    return y if sy is None else quantize(call, y, sy, zy)
