"""What each elementwise op computes for one vector: the same code in epilogues, map kernels and prologues."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from alula.codegen.kernels import math
from alula.codegen.kernels.narrow import from_bf16, to_bf16, to_bytes
from alula.codegen.vector import Emitter, Vec
from alula.core.dtype import DType
from alula.ir.op import Op
from alula.ops import elementwise as ops
from alula.ops.norm import BatchNorm
from alula.ops.quantize import Dequantize, Quantize

Rule = Callable[..., Vec]
O = TypeVar("O", bound=Op)  # noqa: E741

RULES: dict[type[Op], Rule] = {}
COARSE: dict[Op, Callable[[Emitter, Vec], Vec]] = {
    ops.Gelu(): math.gelu_coarse,
    ops.Gelu("tanh"): math.gelu_tanh_coarse,
    ops.Silu(): math.silu_coarse,
    ops.Sigmoid(): math.sigmoid_coarse,
}


def emits(*kinds: type[Op]) -> Callable[[Rule], Rule]:
    """Makes `rule(e, op, *vectors)` the meaning of these ops."""

    def add(rule: Rule) -> Rule:
        RULES.update(dict.fromkeys(kinds, rule))
        return rule

    return add


def emit_op(e: Emitter, op: Op, vectors: Sequence[Vec], *, coarse: bool = False) -> Vec:
    """The op's result for vectors of float32; `coarse` where it is narrowed at once and need not be exact."""
    if coarse and op in COARSE:
        return COARSE[op](e, *vectors)
    return RULES[type(op)](e, op, *vectors)


def is_product(op: Op) -> bool:
    """True for ops that end with a product, which an addition can take in: `factors_of` are its factors."""
    return isinstance(op, ops.Mul | Dequantize)


def factors_of(e: Emitter, op: Op, vectors: Sequence[Vec]) -> tuple[Vec, Vec]:
    """The two factors of what a product makes of vectors."""
    if isinstance(op, Dequantize):
        x, scale, zero = vectors
        return x - zero, scale
    a, b = vectors
    return a, b


def is_narrowing(op: Op) -> bool:
    """True for ops that leave 8 significant bits or fewer."""
    return isinstance(op, Quantize) or (isinstance(op, ops.Cast) and op.dtype is DType.BF16)


def is_elementwise(op: Op) -> bool:
    """True for ops that expressions can hold."""
    return type(op) in RULES


def as_f32(e: Emitter, vector: Vec, dtype: DType) -> Vec:
    """A loaded vector as float32; bf16, f16, u8 and i8 are exact."""
    match dtype:
        case DType.F32:
            return vector
        case DType.BF16:
            return from_bf16(e, vector)
        case DType.F16:
            return e.convert(vector, "fpext", DType.F32)
        case DType.U8 | DType.BOOL:
            return e.convert(vector, "uitofp", DType.F32)
        case DType.I8 | DType.I32:
            return e.convert(vector, "sitofp", DType.F32)
    raise TypeError(f"expected f32, bf16, f16, u8, i8, i32 or bool in memory, got {dtype}")


@emits(ops.Add)
def _add(e: Emitter, op: ops.Add, x: Vec, y: Vec) -> Vec:
    return x + y


@emits(ops.Sub)
def _sub(e: Emitter, op: ops.Sub, x: Vec, y: Vec) -> Vec:
    return x - y


@emits(ops.Mul)
def _mul(e: Emitter, op: ops.Mul, x: Vec, y: Vec) -> Vec:
    return x * y


@emits(ops.Div)
def _div(e: Emitter, op: ops.Div, x: Vec, y: Vec) -> Vec:
    return x / y


@emits(ops.Pow)
def _pow(e: Emitter, op: ops.Pow, x: Vec, y: Vec) -> Vec:
    return math.pow(e, x, y)


@emits(ops.Maximum)
def _maximum(e: Emitter, op: ops.Maximum, x: Vec, y: Vec) -> Vec:
    return e.choose("uno", y, y, y, e.max(y, x))  # a NaN on either side wins, as in NumPy


@emits(ops.Minimum)
def _minimum(e: Emitter, op: ops.Minimum, x: Vec, y: Vec) -> Vec:
    return e.choose("uno", y, y, y, e.min(y, x))


@emits(ops.Neg)
def _neg(e: Emitter, op: ops.Neg, x: Vec) -> Vec:
    return -x


@emits(ops.Abs)
def _abs(e: Emitter, op: ops.Abs, x: Vec) -> Vec:
    return e.unary("fabs", x)


@emits(ops.Exp)
def _exp(e: Emitter, op: ops.Exp, x: Vec) -> Vec:
    return math.exp(e, x)


@emits(ops.Log)
def _log(e: Emitter, op: ops.Log, x: Vec) -> Vec:
    return math.log(e, x)


@emits(ops.Sqrt)
def _sqrt(e: Emitter, op: ops.Sqrt, x: Vec) -> Vec:
    return e.unary("sqrt", x)


@emits(ops.Rsqrt)
def _rsqrt(e: Emitter, op: ops.Rsqrt, x: Vec) -> Vec:
    return math.rsqrt(e, x)


@emits(ops.Reciprocal)
def _reciprocal(e: Emitter, op: ops.Reciprocal, x: Vec) -> Vec:
    return 1.0 / x


@emits(ops.Erf)
def _erf(e: Emitter, op: ops.Erf, x: Vec) -> Vec:
    return math.erf(e, x)


@emits(ops.Tanh)
def _tanh(e: Emitter, op: ops.Tanh, x: Vec) -> Vec:
    return math.tanh(e, x)


@emits(ops.Sigmoid)
def _sigmoid(e: Emitter, op: ops.Sigmoid, x: Vec) -> Vec:
    return math.sigmoid(e, x)


@emits(ops.Silu)
def _silu(e: Emitter, op: ops.Silu, x: Vec) -> Vec:
    return math.silu(e, x)


@emits(ops.Relu)
def _relu(e: Emitter, op: ops.Relu, x: Vec) -> Vec:
    return e.max(e.like(x, 0.0), x)  # NaN stays NaN


@emits(ops.LeakyRelu)
def _leaky_relu(e: Emitter, op: ops.LeakyRelu, x: Vec) -> Vec:
    return e.choose("<", x, 0.0, x * op.slope, x)


@emits(ops.Gelu)
def _gelu(e: Emitter, op: ops.Gelu, x: Vec) -> Vec:
    return math.gelu_tanh(e, x) if op.approximate == "tanh" else math.gelu_erf(e, x)


@emits(ops.Clip)
def _clip(e: Emitter, op: ops.Clip, x: Vec) -> Vec:
    raised = e.choose("<", x, op.low, op.low, x)
    return e.choose(">", raised, op.high, op.high, raised)


@emits(ops.HardSigmoid)
def _hard_sigmoid(e: Emitter, op: ops.HardSigmoid, x: Vec) -> Vec:
    return _unit(e, x * (1 / 6) + 0.5)


@emits(ops.HardSwish)
def _hard_swish(e: Emitter, op: ops.HardSwish, x: Vec) -> Vec:
    return x * _unit(e, x * (1 / 6) + 0.5)


def _unit(e: Emitter, x: Vec) -> Vec:
    raised = e.choose("<", x, 0.0, 0.0, x)
    return e.choose(">", raised, 1.0, 1.0, raised)


@emits(ops.Cast)
def _cast(e: Emitter, op: ops.Cast, x: Vec) -> Vec:
    match op.dtype:
        case DType.F32:
            return x if x.is_float else e.convert(x, "sitofp", DType.F32)  # the sums of bytes come as i32
        case DType.BF16:
            return to_bf16(e, x)
        case DType.I32:
            return e.truncated(x)
        case DType.U8 | DType.I8:
            return e.convert(e.truncated(x), "trunc", op.dtype)
        case DType.BOOL:
            ones, zeros = (Vec(e, e.constant(value, DType.U8).value) for value in (1, 0))
            return e.choose("==", x, 0.0, zeros, ones)  # NaN is true
    raise TypeError(f"expected f32, bf16, u8, i8, i32 or bool, got {op.dtype}")


@emits(Quantize)
def _quantize(e: Emitter, op: Quantize, x: Vec, factor: Vec, shifter: Vec) -> Vec:
    return to_bytes(e, x, factor, shifter)


@emits(Dequantize)
def _dequantize(e: Emitter, op: Dequantize, x: Vec, scale: Vec, zero: Vec) -> Vec:
    return (x - zero) * scale


def parameters_of(op: Op) -> tuple[float, ...]:
    """The numbers that an op's rule takes after its operands: not in the code, so that equal kernels are one."""
    match op:
        case Quantize():
            return (op.factor, math.SHIFTER + op.zero)
        case Dequantize():
            return (op.scale, float(op.zero))
    return ()


def without_parameters(op: Op) -> Op:
    """The op as the code knows it."""
    return type(op)(1.0, 0) if isinstance(op, Quantize | Dequantize) else op


def is_widening(op: Op) -> bool:
    """True for ops that make float32 of what takes fewer bytes: cheaper to do again than to store."""
    return isinstance(op, Dequantize) or (isinstance(op, ops.Cast) and op.dtype is DType.F32)


@emits(BatchNorm)
def _batch_norm(e: Emitter, op: BatchNorm, x: Vec, gamma: Vec, beta: Vec, mean: Vec, var: Vec) -> Vec:
    return e.fma(x - mean, gamma / e.unary("sqrt", var + op.eps), beta)
