"""Trigonometric and hyperbolic functions and their inverses, element by element.

Source: the ONNX operators of the same names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from alula.core.dtype import Array
from alula.ir.op import register
from alula.ops.elementwise import Unary

LARGEST_ANGLE = 2.0**50


@register
@dataclass(frozen=True, slots=True)
class Sin(Unary):
    """Sine of an angle in radians; NaN beyond 2**50, where one step of float32 is more than all angles."""

    name: ClassVar[str] = "sin"

    def formula(self, x: Array) -> Any:
        return np.where(np.abs(x) <= LARGEST_ANGLE, np.sin(x), np.nan)


@register
@dataclass(frozen=True, slots=True)
class Cos(Unary):
    """Cosine of an angle in radians; NaN beyond 2**50."""

    name: ClassVar[str] = "cos"

    def formula(self, x: Array) -> Any:
        return np.where(np.abs(x) <= LARGEST_ANGLE, np.cos(x), np.nan)


@register
@dataclass(frozen=True, slots=True)
class Tan(Unary):
    """Tangent of an angle in radians; NaN beyond 2**50."""

    name: ClassVar[str] = "tan"

    def formula(self, x: Array) -> Any:
        return np.where(np.abs(x) <= LARGEST_ANGLE, np.tan(x), np.nan)


@register
@dataclass(frozen=True, slots=True)
class Asin(Unary):
    """The angle whose sine is x, in -pi/2..pi/2; NaN outside -1..1."""

    name: ClassVar[str] = "asin"

    def formula(self, x: Array) -> Any:
        return np.arcsin(x)


@register
@dataclass(frozen=True, slots=True)
class Acos(Unary):
    """The angle whose cosine is x, in 0..pi; NaN outside -1..1."""

    name: ClassVar[str] = "acos"

    def formula(self, x: Array) -> Any:
        return np.arccos(x)


@register
@dataclass(frozen=True, slots=True)
class Atan(Unary):
    """The angle whose tangent is x, in -pi/2..pi/2."""

    name: ClassVar[str] = "atan"

    def formula(self, x: Array) -> Any:
        return np.arctan(x)


@register
@dataclass(frozen=True, slots=True)
class Sinh(Unary):
    """Hyperbolic sine."""

    name: ClassVar[str] = "sinh"

    def formula(self, x: Array) -> Any:
        return np.sinh(x)


@register
@dataclass(frozen=True, slots=True)
class Cosh(Unary):
    """Hyperbolic cosine."""

    name: ClassVar[str] = "cosh"

    def formula(self, x: Array) -> Any:
        return np.cosh(x)


@register
@dataclass(frozen=True, slots=True)
class Asinh(Unary):
    """The number whose hyperbolic sine is x."""

    name: ClassVar[str] = "asinh"

    def formula(self, x: Array) -> Any:
        return np.arcsinh(x)


@register
@dataclass(frozen=True, slots=True)
class Acosh(Unary):
    """The number >= 0 whose hyperbolic cosine is x; NaN below 1."""

    name: ClassVar[str] = "acosh"

    def formula(self, x: Array) -> Any:
        return np.arccosh(x)


@register
@dataclass(frozen=True, slots=True)
class Atanh(Unary):
    """The number whose hyperbolic tangent is x; infinite at -1 and 1, NaN beyond."""

    name: ClassVar[str] = "atanh"

    def formula(self, x: Array) -> Any:
        return np.arctanh(x)
