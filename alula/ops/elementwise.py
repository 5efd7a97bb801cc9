"""Ops that map each element by itself: one operand, or two that broadcast as in NumPy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import erf, erfc, pi, sqrt
from typing import Any, ClassVar

import numpy as np

from alula.core.dtype import Array, DType, cast_array
from alula.core.errors import ShapeError
from alula.ir.op import Op, register
from alula.ir.types import TensorType
from alula.ops.checks import FLOATS, NUMBERS, broadcast, check_dtype, check_rank, check_same_dtype, check_shape

SIGNED = NUMBERS - {DType.U8, DType.U16, DType.U32, DType.U64}

exact_erf: Callable[[Array], Array] = np.vectorize(erf, otypes=[np.float64])  # NumPy has neither
exact_erfc: Callable[[Array], Array] = np.vectorize(erfc, otypes=[np.float64])


class Unary(Op):
    """y = formula(x), element by element, in the shape and dtype of x; floats are computed in float64 and rounded."""

    __slots__ = ()
    allowed: ClassVar[frozenset[DType]] = FLOATS

    def infer(self, x: TensorType) -> TensorType:
        check_dtype(x, self.allowed)
        return x

    def reference(self, x: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(self.formula(_wide(x)), order="C").astype(x.dtype)

    def formula(self, x: Array) -> Any:
        """The mathematics, on float64 or integers."""
        raise TypeError(f"{self.name} has no formula")


class Binary(Op):
    """y = formula(a, b) with NumPy broadcasting, in the dtype of both; floats are computed in float64 and rounded."""

    __slots__ = ()
    allowed: ClassVar[frozenset[DType]] = NUMBERS

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        check_dtype(a, self.allowed)
        check_same_dtype(a, b)
        return a.reshaped(*broadcast(a.shape, b.shape))

    def reference(self, a: Array, b: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(self.formula(_wide(a), _wide(b))).astype(a.dtype)

    def formula(self, a: Array, b: Array) -> Any:
        """The mathematics, on float64 or integers."""
        raise TypeError(f"{self.name} has no formula")


def _wide(x: Array) -> Array:
    return x.astype(np.float64) if x.dtype.kind == "f" else x


@register
@dataclass(frozen=True, slots=True)
class Neg(Unary):
    """-x, for floats and signed integers (the least integer stays itself)."""

    name: ClassVar[str] = "neg"
    allowed: ClassVar[frozenset[DType]] = SIGNED

    def formula(self, x: Array) -> Any:
        return np.negative(x)


@register
@dataclass(frozen=True, slots=True)
class Abs(Unary):
    """|x|, for numbers (the least integer stays itself)."""

    name: ClassVar[str] = "abs"
    allowed: ClassVar[frozenset[DType]] = NUMBERS

    def formula(self, x: Array) -> Any:
        return np.abs(x)


@register
@dataclass(frozen=True, slots=True)
class Exp(Unary):
    """e ** x."""

    name: ClassVar[str] = "exp"

    def formula(self, x: Array) -> Any:
        return np.exp(x)


@register
@dataclass(frozen=True, slots=True)
class Log(Unary):
    """Natural logarithm; -inf at 0, NaN below."""

    name: ClassVar[str] = "log"

    def formula(self, x: Array) -> Any:
        return np.log(x)


@register
@dataclass(frozen=True, slots=True)
class Sqrt(Unary):
    """Square root; NaN below 0."""

    name: ClassVar[str] = "sqrt"

    def formula(self, x: Array) -> Any:
        return np.sqrt(x)


@register
@dataclass(frozen=True, slots=True)
class Rsqrt(Unary):
    """1 / sqrt(x)."""

    name: ClassVar[str] = "rsqrt"

    def formula(self, x: Array) -> Any:
        return 1 / np.sqrt(x)


@register
@dataclass(frozen=True, slots=True)
class Reciprocal(Unary):
    """1 / x; infinite at 0."""

    name: ClassVar[str] = "reciprocal"

    def formula(self, x: Array) -> Any:
        return 1 / x


@register
@dataclass(frozen=True, slots=True)
class Erf(Unary):
    """The error function, 2/sqrt(pi) * integral of exp(-t**2) from 0 to x."""

    name: ClassVar[str] = "erf"

    def formula(self, x: Array) -> Any:
        return exact_erf(x)


@register
@dataclass(frozen=True, slots=True)
class Tanh(Unary):
    """Hyperbolic tangent."""

    name: ClassVar[str] = "tanh"

    def formula(self, x: Array) -> Any:
        return np.tanh(x)


@register
@dataclass(frozen=True, slots=True)
class Sigmoid(Unary):
    """1 / (1 + exp(-x))."""

    name: ClassVar[str] = "sigmoid"

    def formula(self, x: Array) -> Any:
        return 1 / (1 + np.exp(-x))


@register
@dataclass(frozen=True, slots=True)
class Relu(Unary):
    """max(x, 0), for numbers; NaN stays NaN."""

    name: ClassVar[str] = "relu"
    allowed: ClassVar[frozenset[DType]] = NUMBERS

    def formula(self, x: Array) -> Any:
        return np.maximum(x, x.dtype.type(0))


@register
@dataclass(frozen=True, slots=True)
class Silu(Unary):
    """x * sigmoid(x)."""

    name: ClassVar[str] = "silu"

    def formula(self, x: Array) -> Any:
        return x / (1 + np.exp(-x))


@register
@dataclass(frozen=True, slots=True)
class Gelu(Unary):
    """x * Phi(x), Phi by erf; or, approximate="tanh", 0.5*x*(1 + tanh(sqrt(2/pi) * (x + 0.044715*x**3))).

    Source: Hendrycks and Gimpel, arXiv 1606.08415, section 2.
    """

    name: ClassVar[str] = "gelu"
    approximate: str = "none"

    def infer(self, x: TensorType) -> TensorType:
        if self.approximate not in ("none", "tanh"):
            raise ShapeError(f"expected approximate of none or tanh, got {self.approximate[:40]!r}")
        return Unary.infer(self, x)

    def formula(self, x: Array) -> Any:
        if self.approximate == "tanh":  # (1 + tanh(u)) / 2 = 1 / (1 + exp(-2u)), which loses no digits below 0
            return x / (1 + np.exp(-2 * sqrt(2 / pi) * (x + 0.044715 * x**3)))
        return 0.5 * x * exact_erfc(-x / sqrt(2))


@register
@dataclass(frozen=True, slots=True)
class Clip(Unary):
    """min(max(x, low), high); NaN stays NaN.  Raises ShapeError unless low <= high."""

    name: ClassVar[str] = "clip"
    low: float
    high: float

    def infer(self, x: TensorType) -> TensorType:
        if self.low > self.high:
            raise ShapeError(f"expected low <= high, got {self.low} and {self.high}")
        return Unary.infer(self, x)

    def formula(self, x: Array) -> Any:
        return np.minimum(np.maximum(x, self.low), self.high)


@register
@dataclass(frozen=True, slots=True)
class LeakyRelu(Unary):
    """x where x >= 0, slope * x elsewhere."""

    name: ClassVar[str] = "leaky_relu"
    slope: float

    def formula(self, x: Array) -> Any:
        return np.where(x >= 0, x, self.slope * x)


@register
@dataclass(frozen=True, slots=True)
class HardSigmoid(Unary):
    """min(max(x + 3, 0), 6) / 6.  Source: PyTorch's documentation of hardsigmoid."""

    name: ClassVar[str] = "hard_sigmoid"

    def formula(self, x: Array) -> Any:
        return np.minimum(np.maximum(x + 3, 0), 6) / 6


@register
@dataclass(frozen=True, slots=True)
class HardSwish(Unary):
    """x * hard_sigmoid(x).  Source: Howard et al., arXiv 1905.02244, section 5.2."""

    name: ClassVar[str] = "hard_swish"

    def formula(self, x: Array) -> Any:
        return x * np.minimum(np.maximum(x + 3, 0), 6) / 6


@register
@dataclass(frozen=True, slots=True)
class Add(Binary):
    """a + b; integers wrap."""

    name: ClassVar[str] = "add"

    def formula(self, a: Array, b: Array) -> Any:
        return np.add(a, b)


@register
@dataclass(frozen=True, slots=True)
class Sub(Binary):
    """a - b; integers wrap."""

    name: ClassVar[str] = "sub"

    def formula(self, a: Array, b: Array) -> Any:
        return np.subtract(a, b)


@register
@dataclass(frozen=True, slots=True)
class Mul(Binary):
    """a * b; integers wrap."""

    name: ClassVar[str] = "mul"

    def formula(self, a: Array, b: Array) -> Any:
        return np.multiply(a, b)


@register
@dataclass(frozen=True, slots=True)
class Div(Binary):
    """a / b; of integers towards zero, 0 where b is 0, and the least integer by -1 stays itself."""

    name: ClassVar[str] = "div"

    def formula(self, a: Array, b: Array) -> Any:
        if a.dtype.kind == "f":
            return np.divide(a, b)
        down = np.floor_divide(a, b)  # 0 by 0, and the least integer by -1 is itself
        return np.where((b != 0) & (down < 0) & (down * b != a), down + 1, down)


@register
@dataclass(frozen=True, slots=True)
class Pow(Binary):
    """a ** b; NaN for a negative a and a b that is no integer.  Integers wrap, and give 0 for a b below 0."""

    name: ClassVar[str] = "pow"

    def formula(self, a: Array, b: Array) -> Any:
        if a.dtype.kind == "f":
            return np.power(a, b)
        return np.where(b < 0, 0, np.power(a, np.maximum(b, 0)))


@register
@dataclass(frozen=True, slots=True)
class Maximum(Binary):
    """The greater of a and b; NaN where either is."""

    name: ClassVar[str] = "maximum"

    def formula(self, a: Array, b: Array) -> Any:
        return np.maximum(a, b)


@register
@dataclass(frozen=True, slots=True)
class Minimum(Binary):
    """The smaller of a and b; NaN where either is."""

    name: ClassVar[str] = "minimum"

    def formula(self, a: Array, b: Array) -> Any:
        return np.minimum(a, b)


@register
@dataclass(frozen=True, slots=True)
class Cast(Op):
    """x in another element type: floats round to nearest even, floats to integers truncate.  Source: ONNX Cast-13."""

    name: ClassVar[str] = "cast"
    dtype: DType

    def infer(self, x: TensorType) -> TensorType:
        return x.cast(self.dtype)

    def reference(self, x: Array) -> Array:
        return cast_array(x, self.dtype)


@register
@dataclass(frozen=True, slots=True)
class Normalize(Op):
    """x * scale[c] + shift[c] along the last axis.  x[...,c] u8 or f32 -> f32, computed in float64 and rounded."""

    name: ClassVar[str] = "normalize"
    scale: tuple[float, ...]
    shift: tuple[float, ...]

    def infer(self, x: TensorType) -> TensorType:
        check_dtype(x, (DType.U8, DType.F32))
        check_rank(x, 1)
        if len(self.scale) != len(self.shift):
            raise ShapeError(f"expected as many shifts as scales, got {len(self.shift)} and {len(self.scale)}")
        check_shape("x", x, *x.shape[:-1], len(self.scale))
        return x.cast(DType.F32)

    def reference(self, x: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(x * np.array(self.scale) + np.array(self.shift), np.float32)
