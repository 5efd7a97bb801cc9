"""Importers of element by element arithmetic and of conversions between element types."""

from __future__ import annotations

from math import inf
from typing import Any

from alula.frontends.torch.call import Call, Number, Operand, imports
from alula.ir.graph import Value
from alula.ir.op import Op
from alula.ops import elementwise as ops
from alula.ops import trigonometry

UNARY: dict[str, Op] = {
    "abs": ops.Abs(),
    "erf": ops.Erf(),
    "exp": ops.Exp(),
    "log": ops.Log(),
    "neg": ops.Neg(),
    "reciprocal": ops.Reciprocal(),
    "rsqrt": ops.Rsqrt(),
    "sqrt": ops.Sqrt(),
    "tanh": ops.Tanh(),
    "sigmoid": ops.Sigmoid(),
    "relu": ops.Relu(),
    "silu": ops.Silu(),
    "hardsigmoid": ops.HardSigmoid(),
    "hardswish": ops.HardSwish(),
    "relu6": ops.Clip(low=0.0, high=6.0),
    "sin": trigonometry.Sin(),
    "cos": trigonometry.Cos(),
    "tan": trigonometry.Tan(),
    "asin": trigonometry.Asin(),
    "acos": trigonometry.Acos(),
    "atan": trigonometry.Atan(),
    "sinh": trigonometry.Sinh(),
    "cosh": trigonometry.Cosh(),
    "asinh": trigonometry.Asinh(),
    "acosh": trigonometry.Acosh(),
    "atanh": trigonometry.Atanh(),
}

BINARY: dict[str, Op] = {
    "mul": ops.Mul(),
    "div": ops.Div(),
    "maximum": ops.Maximum(),
    "minimum": ops.Minimum(),
}


def _import_unary(name: str, op: Op) -> None:
    @imports(f"aten.{name}.default")
    def unary(call: Call, x: Value) -> Value:
        return call.add(op, call.cast(x, call.type.dtype))


def _import_binary(name: str, op: Op) -> None:
    forms = ("default",) if name in ("maximum", "minimum") else ("Tensor", "Scalar")

    @imports(*(f"aten.{name}.{form}" for form in forms))
    def binary(call: Call, a: Operand, b: Operand) -> Value:
        return arithmetic(call, op, a, b)


for _name, _op in UNARY.items():
    _import_unary(_name, _op)
for _name, _op in BINARY.items():
    _import_binary(_name, _op)


def arithmetic(call: Call, op: Op, a: Operand, b: Operand) -> Value:
    """op(a, b) in the element type that PyTorch promotes both to."""
    dtype = call.type.dtype
    return call.add(op, call.operand(a, dtype), call.operand(b, dtype))


def _scaled(call: Call, x: Operand, factor: Number) -> Operand:
    return _product(call, x, factor) if isinstance(x, Value) else x * factor


def _product(call: Call, x: Value, factor: Number) -> Value:
    return x if factor == 1 else arithmetic(call, ops.Mul(), x, factor)


@imports("aten.add.Tensor", "aten.add.Scalar")
def add(call: Call, a: Operand, b: Operand, alpha: Number = 1) -> Value:
    """a + alpha * b."""
    return arithmetic(call, ops.Add(), a, _scaled(call, b, alpha))


@imports("aten.sub.Tensor", "aten.sub.Scalar")
def subtract(call: Call, a: Operand, b: Operand, alpha: Number = 1) -> Value:
    """a - alpha * b."""
    return arithmetic(call, ops.Sub(), a, _scaled(call, b, alpha))


@imports("aten.rsub.Tensor", "aten.rsub.Scalar")
def subtract_from(call: Call, a: Operand, b: Operand, alpha: Number = 1) -> Value:
    """b - alpha * a."""
    return arithmetic(call, ops.Sub(), b, _scaled(call, a, alpha))


@imports("aten.pow.Tensor_Tensor", "aten.pow.Scalar")
def power(call: Call, base: Operand, exponent: Operand) -> Value:
    """base ** exponent."""
    return arithmetic(call, ops.Pow(), base, exponent)


@imports("aten.pow.Tensor_Scalar")
def power_of(call: Call, x: Value, exponent: Number) -> Value:
    """x ** exponent; small whole ones are products, roots are roots, as PyTorch computes them."""
    x = call.cast(x, call.type.dtype)
    if exponent == 1:
        return x
    if exponent in (2, 3):
        square = call.add(ops.Mul(), x, x)
        return square if exponent == 2 else call.add(ops.Mul(), square, x)
    roots: dict[Number, Op] = {0.5: ops.Sqrt(), -0.5: ops.Rsqrt(), -1: ops.Reciprocal()}
    if exponent in roots and x.type.dtype.is_float:
        return call.add(roots[exponent], x)
    return arithmetic(call, ops.Pow(), x, exponent)


@imports("aten.square.default")
def square(call: Call, x: Value) -> Value:
    """x * x."""
    return call.add(ops.Mul(), x, x)


@imports("aten.gelu.default")
def gelu(call: Call, x: Value, approximate: str = "none") -> Value:
    """GELU, by the error function or by tanh."""
    return call.add(ops.Gelu(approximate=approximate), x)


@imports("aten.leaky_relu.default")
def leaky_relu(call: Call, x: Value, negative_slope: Number = 0.01) -> Value:
    """x, or x * slope below 0."""
    return call.add(ops.LeakyRelu(slope=float(negative_slope)), x)


@imports("aten.elu.default")
def elu(call: Call, x: Value, alpha: Number = 1, scale: Number = 1, input_scale: Number = 1) -> Value:
    """scale * x, or scale * alpha * (exp(input_scale * x) - 1) below 0."""
    dtype = x.type.dtype
    below = call.add(ops.Minimum(), x, call.constant(0, dtype))
    grown = call.add(ops.Exp(), _product(call, below, input_scale))
    curve = call.add(ops.Sub(), grown, call.constant(1, dtype))
    return call.add(ops.Add(), _product(call, call.add(ops.Relu(), x), scale), _product(call, curve, alpha * scale))


@imports("aten.prelu.default")
def prelu(call: Call, x: Value, weight: Value) -> Value:
    """max(x, 0) + weight * min(x, 0), one weight for all or one a channel."""
    channels = weight.type.shape if x.type.rank > 1 else ()
    slope = call.reshape(weight, *channels, *[1] * max(x.type.rank - 2, 0))
    below = call.add(ops.Minimum(), x, call.constant(0, x.type.dtype))
    return call.add(ops.Add(), call.add(ops.Relu(), x), call.add(ops.Mul(), slope, below))


@imports("aten.clamp.default", "aten.hardtanh.default", "aten.clamp_min.default")
def clamp(call: Call, x: Value, low: Number | None = None, high: Number | None = None) -> Value:
    """x within low..high."""
    return _clip(call, x, low, high)


@imports("aten.clamp_max.default")
def clamp_max(call: Call, x: Value, high: Number) -> Value:
    """x, at most high."""
    return _clip(call, x, None, high)


def _clip(call: Call, x: Value, low: Number | None, high: Number | None) -> Value:
    clip = ops.Clip(low=-inf if low is None else float(low), high=inf if high is None else float(high))
    return call.add(clip, call.cast(x, call.type.dtype))


@imports(
    "aten._to_copy.default", "aten.type_as.default", "aten.clone.default", "aten.detach.default", "aten.alias.default"
)
def convert(call: Call, x: Value, *_: Any, **__: Any) -> Value:
    """x with the result's element type; copies and memory formats mean nothing here, values never change."""
    return call.cast(x, call.type.dtype)
