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
from alula.ops.checks import NUMBERS, broadcast, check_dtype, check_same_dtype
from alula.ops.elementwise import SIGNED, Binary, Unary

BOOLEANS = frozenset({DType.BOOL})


class Comparison(Binary):
    """y = a ? b with NumPy broadcasting, boolean; a NaN is unequal to all and neither less nor greater."""

    __slots__ = ()

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        return Binary.infer(self, a, b).cast(DType.BOOL)

    def reference(self, a: Array, b: Array) -> Array:
        return np.asarray(self.formula(a, b))


class Logical(Binary):
    """y = a ? b with NumPy broadcasting, of booleans."""

    __slots__ = ()
    allowed: ClassVar[frozenset[DType]] = BOOLEANS


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


@register
@dataclass(frozen=True, slots=True)
class Not(Unary):
    """True where x is false."""

    name: ClassVar[str] = "not"
    allowed: ClassVar[frozenset[DType]] = BOOLEANS

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
