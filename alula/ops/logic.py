"""Comparisons, logic, choices and steps, element by element.

Booleans are bytes of 0 and 1.  Source: the ONNX operators of the same names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from alula.core.dtype import Array, DType
from alula.ir.op import Op, register
from alula.ir.types import TensorType
from alula.ops.checks import FLOATS, NUMBERS, broadcast, check_dtype, check_same_dtype
from alula.ops.elementwise import SIGNED, Binary, Unary

BOOLEANS = frozenset({DType.BOOL})
INTEGERS = NUMBERS - FLOATS


class Comparison(Binary):
    """y = a ? b with NumPy broadcasting, boolean; a NaN is unequal to all and neither less nor greater."""

    __slots__ = ()

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        return Binary.infer(self, a, b).cast(DType.BOOL)

    def reference(self, a: Array, b: Array) -> Array:
        return np.asarray(self.formula(a, b))


class Logical(Binary):
    """y = a ? b with NumPy broadcasting, of booleans, and of integers bit by bit."""

    __slots__ = ()
    allowed: ClassVar[frozenset[DType]] = BOOLEANS | INTEGERS


@register
@dataclass(frozen=True, slots=True)
class Equal(Comparison):
    """a == b, for numbers and booleans."""

    name: ClassVar[str] = "equal"
    allowed: ClassVar[frozenset[DType]] = NUMBERS | BOOLEANS

    def formula(self, a: Array, b: Array) -> Any:
        return a == b


@register
@dataclass(frozen=True, slots=True)
class Less(Comparison):
    """a < b."""

    name: ClassVar[str] = "less"

    def formula(self, a: Array, b: Array) -> Any:
        return a < b


@register
@dataclass(frozen=True, slots=True)
class LessOrEqual(Comparison):
    """a <= b."""

    name: ClassVar[str] = "less_or_equal"

    def formula(self, a: Array, b: Array) -> Any:
        return a <= b


@register
@dataclass(frozen=True, slots=True)
class And(Logical):
    """Both are true."""

    name: ClassVar[str] = "and"

    def formula(self, a: Array, b: Array) -> Any:
        return a & b


@register
@dataclass(frozen=True, slots=True)
class Or(Logical):
    """At least one is true."""

    name: ClassVar[str] = "or"

    def formula(self, a: Array, b: Array) -> Any:
        return a | b


@register
@dataclass(frozen=True, slots=True)
class Xor(Logical):
    """Exactly one is true."""

    name: ClassVar[str] = "xor"

    def formula(self, a: Array, b: Array) -> Any:
        return a ^ b


class Shift(Binary):
    """y = a moved by b bits, integers; b counts as unsigned, and by all bits or more nothing of a is left."""

    __slots__ = ()
    allowed: ClassVar[frozenset[DType]] = INTEGERS


@register
@dataclass(frozen=True, slots=True)
class ShiftLeft(Shift):
    """a << b."""

    name: ClassVar[str] = "shift_left"

    def formula(self, a: Array, b: Array) -> Any:
        return np.where(_within(b), np.left_shift(a, np.where(_within(b), b, 0)), 0)


@register
@dataclass(frozen=True, slots=True)
class ShiftRight(Shift):
    """a >> b, which fills up with zeros, or for signed integers with the sign."""

    name: ClassVar[str] = "shift_right"

    def formula(self, a: Array, b: Array) -> Any:
        moved = np.right_shift(a, np.where(_within(b), b, 0))
        return np.where(_within(b), moved, np.where(a < 0, -1, 0).astype(a.dtype))


def _within(b: Array) -> Array:
    """True where so many bits are fewer than there are."""
    return (b >= 0) & (b < 8 * b.dtype.itemsize)


@register
@dataclass(frozen=True, slots=True)
class Not(Unary):
    """True where x is false; of integers bit by bit."""

    name: ClassVar[str] = "not"
    allowed: ClassVar[frozenset[DType]] = BOOLEANS | INTEGERS

    def formula(self, x: Array) -> Any:
        return ~x


@register
@dataclass(frozen=True, slots=True)
class IsNan(Unary):
    """True where x is no number."""

    name: ClassVar[str] = "is_nan"

    def infer(self, x: TensorType) -> TensorType:
        return Unary.infer(self, x).cast(DType.BOOL)

    def reference(self, x: Array) -> Array:
        return np.asarray(np.isnan(x))


@register
@dataclass(frozen=True, slots=True)
class Where(Op):
    """a where the condition holds, b elsewhere; all three broadcast as in NumPy, a and b are of one dtype."""

    name: ClassVar[str] = "where"

    def infer(self, condition: TensorType, a: TensorType, b: TensorType) -> TensorType:
        check_dtype(condition, BOOLEANS)
        check_same_dtype(a, b)
        return a.reshaped(*broadcast(condition.shape, broadcast(a.shape, b.shape)))

    def reference(self, condition: Array, a: Array, b: Array) -> Array:
        return np.where(condition, a, b)


@register
@dataclass(frozen=True, slots=True)
class Floor(Unary):
    """The greatest integer that is not above x."""

    name: ClassVar[str] = "floor"

    def formula(self, x: Array) -> Any:
        return np.floor(x)


@register
@dataclass(frozen=True, slots=True)
class Ceil(Unary):
    """The smallest integer that is not below x."""

    name: ClassVar[str] = "ceil"

    def formula(self, x: Array) -> Any:
        return np.ceil(x)


@register
@dataclass(frozen=True, slots=True)
class Round(Unary):
    """The nearest integer, ties to even."""

    name: ClassVar[str] = "round"

    def formula(self, x: Array) -> Any:
        return np.rint(x)


@register
@dataclass(frozen=True, slots=True)
class Sign(Unary):
    """-1, 0 or 1; NaN stays NaN."""

    name: ClassVar[str] = "sign"
    allowed: ClassVar[frozenset[DType]] = SIGNED

    def formula(self, x: Array) -> Any:
        return np.sign(x)
