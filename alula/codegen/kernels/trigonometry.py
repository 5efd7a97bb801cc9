"""Trigonometric and hyperbolic functions for one vector of float32, computed in float64 and rounded once.

The power series stop where the next term is below 1e-10 of the result, so each is the correct float32 or, where that
is nearly a tie, the one beside it.  The logarithm and the power of two are those of kernels/math.py.
"""

from __future__ import annotations

from collections.abc import Callable
from math import factorial

from alula.codegen.kernels.elementwise import emits
from alula.codegen.kernels.math import LOG2E, NAN, exp2_f64, log2_f64, polynomial
from alula.codegen.vector import Emitter, Vec
from alula.core.dtype import DType
from alula.ir.op import Op
from alula.ops import trigonometry as ops

SHIFTER = 1.5 * 2.0**52  # added to a small number, it leaves it rounded to a whole one in the low bits
QUARTER, QUARTER_REST = 1.5707963267948966, 6.123233995736766e-17  # pi / 2 to float64, and the rest
LN2 = 0.6931471805599453

SINE = tuple((-1.0) ** k / factorial(2 * k + 1) for k in range(7))  # of r**2; times r; |r| up to pi / 4
COSINE = tuple((-1.0) ** k / factorial(2 * k) for k in range(8))
ARCTANGENT = tuple((-1.0) ** k / (2 * k + 1) for k in range(13))  # of v**2; times v; |v| up to tan(pi / 8)
HYPERBOLIC_SINE = (1.0, 1 / 6, 1 / 120, 1 / 5040)  # of x**2; times x; |x| up to 0.1
AREA_SINE = (1.0, -1 / 6, 3 / 40, -15 / 336)
AREA_TANGENT = (1.0, 1 / 3, 1 / 5, 1 / 7)
SMALL = 0.02  # up to which they serve; beyond it, formulas lose no digits that float32 has


def widened(formula: Callable[[Emitter, Vec], Vec]) -> Callable[[Emitter, Op, Vec], Vec]:
    """A rule for float32 of a formula for float64."""

    def rule(e: Emitter, op: Op, x: Vec) -> Vec:
        result = formula(e, e.convert(x, "fpext", DType.F64))
        return e.convert(result, "fptrunc", DType.F32)

    return rule


def _odd(e: Emitter, series: tuple[float, ...], x: Vec) -> Vec:
    """x times a series of x**2."""
    return x * polynomial(e, x * x, series)


def _turned(e: Emitter, x: Vec) -> tuple[Vec, Vec, Vec]:
    """(sine, cosine, n) of r, where x = n * pi / 2 + r: n in the low bits of a float64, NaN where x is too large.

    With n below 2**50, n * QUARTER is subtracted exactly: the difference is a multiple of 2**-52 and below 2.
    """
    inside = e.choose("<", e.unary("fabs", x), ops.LARGEST_ANGLE * 1.0000001, x, NAN)
    shifted = e.fma(inside, 1 / QUARTER, SHIFTER)
    n = shifted - SHIFTER
    r = e.fma(n, -QUARTER_REST, e.fma(n, -QUARTER, inside))
    return _odd(e, SINE, r), polynomial(e, r * r, COSINE), e.bitcast(shifted, DType.I64)


def _bit(e: Emitter, whole: Vec, bit: int) -> Vec:
    return Vec(e, e.b.and_(whole.value, e.like(whole, bit).value))


def _signed(e: Emitter, negative: Vec, x: Vec) -> Vec:
    """-x where the number is not 0."""
    return Vec(e, e.b.select(e.b.icmp_signed("!=", negative.value, e.like(negative, 0).value), (-x).value, x.value))


def _either(e: Emitter, number: Vec, yes: Vec, no: Vec) -> Vec:
    """`yes` where the number is not 0."""
    return Vec(e, e.b.select(e.b.icmp_signed("!=", number.value, e.like(number, 0).value), yes.value, no.value))


def _sin(e: Emitter, x: Vec) -> Vec:
    sine, cosine, n = _turned(e, x)
    return _signed(e, _bit(e, n, 2), _either(e, _bit(e, n, 1), cosine, sine))


def _cos(e: Emitter, x: Vec) -> Vec:
    sine, cosine, n = _turned(e, x)
    return _signed(e, _bit(e, n + 1, 2), _either(e, _bit(e, n, 1), sine, cosine))


def _tan(e: Emitter, x: Vec) -> Vec:
    sine, cosine, n = _turned(e, x)
    odd = _bit(e, n, 1)
    return _either(e, odd, -cosine, sine) / _either(e, odd, sine, cosine)


def _atan(e: Emitter, x: Vec) -> Vec:
    """4 * atan(v), where two halvings of the angle, v = x / (1 + sqrt(1 + x**2)), bring any x to tan(pi / 8)."""
    v = e.max(e.like(x, -1e18), e.min(e.like(x, 1e18), x))
    for _ in range(2):
        v = v / (e.unary("sqrt", e.fma(v, v, 1.0)) + 1.0)
    return _odd(e, ARCTANGENT, v) * 4.0


def _asin(e: Emitter, x: Vec) -> Vec:
    return _atan(e, x / e.unary("sqrt", (1.0 - x) * (1.0 + x)))


def _acos(e: Emitter, x: Vec) -> Vec:
    return _atan(e, e.unary("sqrt", (1.0 - x) / (1.0 + x))) * 2.0


def _powers(e: Emitter, x: Vec) -> tuple[Vec, Vec]:
    """e**x / 2 and e**-x / 2."""
    exponent = x * LOG2E
    return exp2_f64(e, exponent - 1.0), exp2_f64(e, -exponent - 1.0)


def _near_zero(e: Emitter, x: Vec, series: tuple[float, ...], formula: Vec) -> Vec:
    """The series where x is small, the formula elsewhere, and x itself where it is not finite."""
    size = e.unary("fabs", x)
    return e.choose("<", size, SMALL, _odd(e, series, x), formula)


def _sinh(e: Emitter, x: Vec) -> Vec:
    up, down = _powers(e, x)
    return _near_zero(e, x, HYPERBOLIC_SINE, up - down)


def _cosh(e: Emitter, x: Vec) -> Vec:
    up, down = _powers(e, x)
    return up + down


def _asinh(e: Emitter, x: Vec) -> Vec:
    size = e.unary("fabs", x)
    grown = log2_f64(e, size + e.unary("sqrt", e.fma(size, size, 1.0))) * LN2
    return _near_zero(e, x, AREA_SINE, e.binary("copysign", grown, x))


def _acosh(e: Emitter, x: Vec) -> Vec:
    return log2_f64(e, x + e.unary("sqrt", x - 1.0) * e.unary("sqrt", x + 1.0)) * LN2


def _atanh(e: Emitter, x: Vec) -> Vec:
    ratio = e.unary("sqrt", (1.0 + x) / (1.0 - x))  # NaN where x is beyond -1..1
    return _near_zero(e, x, AREA_TANGENT, log2_f64(e, ratio) * LN2)


FORMULAS: dict[type[Op], Callable[[Emitter, Vec], Vec]] = {
    ops.Sin: _sin,
    ops.Cos: _cos,
    ops.Tan: _tan,
    ops.Asin: _asin,
    ops.Acos: _acos,
    ops.Atan: _atan,
    ops.Sinh: _sinh,
    ops.Cosh: _cosh,
    ops.Asinh: _asinh,
    ops.Acosh: _acosh,
    ops.Atanh: _atanh,
}
for _op, _formula in FORMULAS.items():
    emits(_op)(widened(_formula))
