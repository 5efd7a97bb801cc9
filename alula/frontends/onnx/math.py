"""Importers of element by element arithmetic, activations, comparisons and choices."""

from __future__ import annotations

from math import inf

from alula.core.dtype import DType
from alula.frontends.onnx.call import Call, imports
from alula.ir.graph import Value
from alula.ir.op import Op
from alula.ops import elementwise as ops
from alula.ops import logic, trigonometry

UNARY: dict[str, Op] = {
    "Abs": ops.Abs(),
    "Erf": ops.Erf(),
    "Exp": ops.Exp(),
    "Log": ops.Log(),
    "Neg": ops.Neg(),
    "Reciprocal": ops.Reciprocal(),
    "Sqrt": ops.Sqrt(),
    "Tanh": ops.Tanh(),
    "Sigmoid": ops.Sigmoid(),
    "Relu": ops.Relu(),
    "HardSwish": ops.HardSwish(),
    "BitwiseNot": logic.Not(),
    "Sin": trigonometry.Sin(),
    "Cos": trigonometry.Cos(),
    "Tan": trigonometry.Tan(),
    "Asin": trigonometry.Asin(),
    "Acos": trigonometry.Acos(),
    "Atan": trigonometry.Atan(),
    "Sinh": trigonometry.Sinh(),
    "Cosh": trigonometry.Cosh(),
    "Asinh": trigonometry.Asinh(),
    "Acosh": trigonometry.Acosh(),
    "Atanh": trigonometry.Atanh(),
}

BINARY: dict[str, Op] = {
    "Add": ops.Add(),
    "Sub": ops.Sub(),
    "Mul": ops.Mul(),
    "Div": ops.Div(),
    "BitwiseAnd": logic.And(),
    "BitwiseOr": logic.Or(),
    "BitwiseXor": logic.Xor(),
}


def _import_unary(name: str, op: Op) -> None:
    @imports(name)
    def unary(call: Call, x: Value) -> Value:
        return call.add(op, x)


def _import_binary(name: str, op: Op) -> None:
    @imports(name)
    def binary(call: Call, a: Value, b: Value) -> Value:
        return call.add(op, a, b)


def _import_many(name: str, op: Op) -> None:
    @imports(name)
    def many(call: Call, *operands: Value) -> Value:
        if not operands:
            call.refuse("of nothing")
        total = operands[0]
        for operand in operands[1:]:
            total = call.add(op, total, operand)
        return total


for _name, _op in UNARY.items():
    _import_unary(_name, _op)
for _name, _op in BINARY.items():
    _import_binary(_name, _op)
for _name, _op in {"Sum": ops.Add(), "Max": ops.Maximum(), "Min": ops.Minimum()}.items():
    _import_many(_name, _op)


@imports("Mean")
def mean(call: Call, *operands: Value) -> Value:
    """The mean of all operands."""
    if not operands:
        call.refuse("of nothing")
    total = operands[0]
    for operand in operands[1:]:
        total = call.add(ops.Add(), total, operand)
    return call.add(ops.Div(), total, call.like(len(operands), total))


@imports("Pow")
def power(call: Call, x: Value, exponent: Value) -> Value:
    """x ** exponent; small whole ones are products, roots are roots."""
    number = call.number(exponent, "an exponent") if exponent.data is not None and exponent.data.size == 1 else None
    whole = exponent.type.rank <= x.type.rank
    if number in (1, 2, 3) and whole:
        square = x if number == 1 else call.add(ops.Mul(), x, x)
        return call.add(ops.Mul(), square, x) if number == 3 else square
    roots: dict[float, Op] = {0.5: ops.Sqrt(), -0.5: ops.Rsqrt(), -1.0: ops.Reciprocal()}
    if number in roots and whole and x.type.dtype.is_float:
        return call.add(roots[number], x)
    if exponent.type.dtype.is_float and not x.type.dtype.is_float:
        call.refuse(f"of {x.type.dtype} by {exponent.type.dtype}")
    return call.add(ops.Pow(), x, call.cast(exponent, x.type.dtype))


@imports("Mod")
def modulo(call: Call, a: Value, b: Value) -> Value:
    """The rest of a / b, integers: with fmod of the sign of a, else of that of b."""
    if a.type.dtype.is_float:
        call.refuse(f"of {a.type.dtype}")
    whole = call.add(ops.Mul(), call.add(ops.Div(), a, b), b)
    rest, zero = call.add(ops.Sub(), a, whole), call.like(0, a)
    if call.get("fmod", 0) or a.type.dtype in (DType.U8, DType.U16, DType.U32, DType.U64):
        return rest
    apart = call.add(logic.Less(), call.add(logic.Xor(), rest, b), zero)  # their signs differ
    other = call.add(logic.And(), apart, call.add(logic.Not(), call.add(logic.Equal(), rest, zero)))
    return call.add(logic.Where(), other, call.add(ops.Add(), rest, b), rest)


@imports("BitShift")
def bit_shift(call: Call, a: Value, b: Value) -> Value:
    """The bits of a moved by b places."""
    direction = call.get("direction", "")
    if direction not in ("LEFT", "RIGHT"):
        call.refuse(f"with direction {direction!r:.40}")
    return call.add(logic.ShiftLeft() if direction == "LEFT" else logic.ShiftRight(), a, b)


@imports("Clip")
def clip(call: Call, x: Value, low: Value | None = None, high: Value | None = None) -> Value:
    """x within low..high; high wins where it is below low."""
    if call.opset < 11:
        least, most = call.get("min", -inf), call.get("max", inf)
    else:
        if not x.type.dtype.is_float or any(v is not None and v.data is None for v in (low, high)):
            raised = x if low is None else call.add(ops.Maximum(), x, low)
            return raised if high is None else call.add(ops.Minimum(), raised, high)
        least = -inf if low is None else call.number(low, "a bound")
        most = inf if high is None else call.number(high, "a bound")
    return call.add(ops.Clip(low=min(float(least), float(most)), high=float(most)), x)


@imports("LeakyRelu")
def leaky_relu(call: Call, x: Value) -> Value:
    """x, or x * alpha below 0."""
    return call.add(ops.LeakyRelu(slope=float(call.get("alpha", 0.01))), x)


@imports("PRelu")
def prelu(call: Call, x: Value, slope: Value) -> Value:
    """max(x, 0) + slope * min(x, 0)."""
    below = call.add(ops.Minimum(), x, call.like(0, x))
    return call.add(ops.Add(), call.add(ops.Relu(), x), call.add(ops.Mul(), slope, below))


def _exponential(call: Call, x: Value, alpha: float, inside: float = 1.0) -> Value:
    """alpha * (exp(inside * x) - 1) below 0, 0 elsewhere."""
    below = call.add(ops.Minimum(), x, call.like(0, x))
    grown = call.add(ops.Exp(), below if inside == 1 else call.add(ops.Mul(), below, call.like(inside, x)))
    curve = call.add(ops.Sub(), grown, call.like(1, x))
    return curve if alpha == 1 else call.add(ops.Mul(), curve, call.like(alpha, x))


@imports("Elu")
def elu(call: Call, x: Value) -> Value:
    """x, or alpha * (exp(x) - 1) below 0."""
    return call.add(ops.Add(), call.add(ops.Relu(), x), _exponential(call, x, call.get("alpha", 1.0)))


@imports("Celu")
def celu(call: Call, x: Value) -> Value:
    """max(x, 0) + min(0, alpha * (exp(x / alpha) - 1))."""
    alpha = call.get("alpha", 1.0)
    if alpha <= 0:
        call.refuse(f"with alpha {alpha}")
    return call.add(ops.Add(), call.add(ops.Relu(), x), _exponential(call, x, alpha, 1 / alpha))


@imports("Selu")
def selu(call: Call, x: Value) -> Value:
    """gamma * x, or gamma * alpha * (exp(x) - 1) below 0."""
    alpha, gamma = call.get("alpha", 1.6732631921768188), call.get("gamma", 1.0507010221481323)
    whole = call.add(ops.Add(), call.add(ops.Relu(), x), _exponential(call, x, alpha))
    return call.add(ops.Mul(), whole, call.like(gamma, x))


@imports("HardSigmoid")
def hard_sigmoid(call: Call, x: Value) -> Value:
    """alpha * x + beta within 0..1."""
    alpha, beta = call.get("alpha", 0.2), call.get("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-7 and beta == 0.5:
        return call.add(ops.HardSigmoid(), x)
    line = call.add(ops.Add(), call.add(ops.Mul(), x, call.like(alpha, x)), call.like(beta, x))
    return call.add(ops.Clip(low=0.0, high=1.0), line)


@imports("Softplus")
def softplus(call: Call, x: Value) -> Value:
    """log(1 + exp(x)), as max(x, 0) + log(1 + exp(-|x|))."""
    small = call.add(ops.Exp(), call.add(ops.Neg(), call.add(ops.Abs(), x)))
    rest = call.add(ops.Log(), call.add(ops.Add(), small, call.like(1, x)))
    return call.add(ops.Add(), call.add(ops.Relu(), x), rest)


@imports("Softsign")
def softsign(call: Call, x: Value) -> Value:
    """x / (1 + |x|)."""
    return call.add(ops.Div(), x, call.add(ops.Add(), call.add(ops.Abs(), x), call.like(1, x)))


@imports("Mish")
def mish(call: Call, x: Value) -> Value:
    """x * tanh(softplus(x))."""
    return call.add(ops.Mul(), x, call.add(ops.Tanh(), softplus(call, x)))


@imports("Swish")
def swish(call: Call, x: Value) -> Value:
    """x * sigmoid(alpha * x)."""
    alpha = call.get("alpha", 1.0)
    if alpha == 1:
        return call.add(ops.Silu(), x)
    return call.add(ops.Mul(), x, call.add(ops.Sigmoid(), call.add(ops.Mul(), x, call.like(alpha, x))))


@imports("Gelu")
def gelu(call: Call, x: Value) -> Value:
    """GELU, by the error function or by tanh."""
    return call.add(ops.Gelu(approximate=call.get("approximate", "none")), x)


@imports("ThresholdedRelu")
def thresholded_relu(call: Call, x: Value) -> Value:
    """x where it is above alpha, 0 elsewhere."""
    above = call.add(logic.Less(), call.like(call.get("alpha", 1.0), x), x)
    return call.add(logic.Where(), above, x, call.like(0, x))


@imports("Shrink")
def shrink(call: Call, x: Value) -> Value:
    """x + bias below -lambd, x - bias above lambd, 0 between."""
    bias, edge = call.get("bias", 0.0), call.get("lambd", 0.5)
    if not x.type.dtype.is_float:
        call.refuse(f"of {x.type.dtype}")
    low = call.add(ops.Add(), x, call.like(bias, x))
    high = call.add(ops.Sub(), x, call.like(bias, x))
    above = call.add(logic.Where(), call.add(logic.Less(), call.like(edge, x), x), high, call.like(0, x))
    return call.add(logic.Where(), call.add(logic.Less(), x, call.like(-edge, x)), low, above)


_STEPS: dict[str, Op] = {
    "Floor": logic.Floor(),
    "Ceil": logic.Ceil(),
    "Round": logic.Round(),
    "Sign": logic.Sign(),
}
for _name, _op in _STEPS.items():
    _import_unary(_name, _op)


@imports("IsNaN")
def is_nan(call: Call, x: Value) -> Value:
    """True where x is no number."""
    return call.add(logic.IsNan(), x)


@imports("IsInf")
def is_inf(call: Call, x: Value) -> Value:
    """True where x is infinite, of the signs that are asked for."""
    negative, positive = call.get("detect_negative", 1), call.get("detect_positive", 1)
    if negative and positive:
        return call.add(logic.Equal(), call.add(ops.Abs(), x), call.like(inf, x))
    if not negative and not positive:
        return call.add(logic.And(), call.add(logic.IsNan(), x), call.constant(False, DType.BOOL))
    return call.add(logic.Equal(), x, call.like(inf if positive else -inf, x))


_COMPARISONS: dict[str, Op] = {
    "Equal": logic.Equal(),
    "Less": logic.Less(),
    "LessOrEqual": logic.LessOrEqual(),
    "And": logic.And(),
    "Or": logic.Or(),
    "Xor": logic.Xor(),
}
for _name, _op in _COMPARISONS.items():
    _import_binary(_name, _op)


@imports("Greater")
def greater(call: Call, a: Value, b: Value) -> Value:
    """a > b."""
    return call.add(logic.Less(), b, a)


@imports("GreaterOrEqual")
def greater_or_equal(call: Call, a: Value, b: Value) -> Value:
    """a >= b."""
    return call.add(logic.LessOrEqual(), b, a)


@imports("Not")
def logical_not(call: Call, x: Value) -> Value:
    """True where x is false."""
    return call.add(logic.Not(), x)


@imports("Where")
def where(call: Call, condition: Value, a: Value, b: Value) -> Value:
    """a where the condition holds, b elsewhere."""
    return call.add(logic.Where(), condition, a, b)
