"""Vectors of exp, log, erf, GELU and their kin, of our own, and the fixed tree of the row reductions.

They use fused multiply-adds, IEEE division and square root, and integer operations only: no library is called and every
target gives the same bits.  `tools/fit_polynomials.py` derives the coefficients; tests/codegen/test_math.py measures
the stated errors, in units of the last place (ulp) of the correct float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from alula.codegen.vector import Emitter, Vec
from alula.core.dtype import DType

INF, NAN = float("inf"), float("nan")
LARGEST = 3.4028234663852886e38

SHIFTER = 12582912.0  # 1.5 * 2**23: added to a small number, it leaves it rounded to a whole one in the low bits
SHIFTER_BITS = 0x4B400000
BITS_OF_ONE = 0x3F800000
EXPONENT_STEP = 2.0**23  # from the bits of a float32 to those of twice as much
LOG2E = 1.4426950408889634
LN2_HIGH, LN2_LOW = 0.693147182464599609375, -1.904654299957767e-09  # ln 2 to float32, and the rest

# Polynomials, lowest power first.
EXP_TAIL = (0.49999994, 0.16666521, 0.04166839, 0.00836871, 0.0013814613)  # (e**r - 1 - r) / r**2
EXP2_COARSE = (37.67976, 23.05395, 12.310575, -0.15702571)  # 2**(m - 1), times 73.9, less m**4, of m from 1 to 2
EXP2_COARSE_UNIT = 1.0 + sum(EXP2_COARSE)  # what it makes of 0
EXP2_COARSER = (0.99992806, 0.69326097, 0.24261113, 0.05517167)  # 2**f, of f from -1/2 to 1/2
RECIPROCAL = (4.180137, -5.82419, 2.7047992)  # 1 / p, of p from 0.70703 to 0.72849
LOG_TAIL = (
    0.33333215, -0.24999797, 0.20010406, -0.16680488, 0.14005868, -0.12184261, 0.13984437, -0.12891686,
)  # (log(1 + f) - f + f**2 / 2) / f**3  # fmt: skip
TANH_TAIL = (-0.33333296, 0.13331075, -0.05354417, 0.018677741)  # (tanh(z) / z - 1) / z**2, of z**2 up to 0.16
ERF_SMALL = (
    0.12837917, -0.37612626, 0.112835854, -0.026853813, 0.0051883277, -0.00080101937, 7.8538615e-05,
)  # erf(z) / z - 1, of z**2 up to 1  # fmt: skip
ERF_LARGE = (
    0.9995931, 0.0021780804, -0.0054466524, 0.008353236, -0.008615319, 0.006103246, -0.0028181744, 0.0005703706,
    0.00028650666, -0.0002789004, 6.188755e-05, 2.1040614e-05, -9.124662e-06,
)  # erf(2.5 + t)  # fmt: skip
NORMAL = (
    0.15061831, -0.0067721736, 0.00044321327, -3.0489995e-05, 2.039218e-06, -1.2817648e-07, 7.469998e-09,
    -4.0293202e-10, 1.991069e-11, -8.787401e-13, 3.6113744e-14, -1.6003558e-15, 6.986666e-17,
    -2.0679104e-18, 2.7011236e-20,
)  # (Phi(x) - 1/2) / x, of x**2 - NORMAL_MIDDLE; Phi is the normal distribution function  # fmt: skip
NORMAL_COARSE = (
    0.15786326, -0.0077574113, 0.00054964074, -4.041849e-05, 2.7301953e-06, -1.6591726e-07, 1.2080368e-08,
    -8.8746066e-10, 3.050912e-11,
)  # the same, of x**2 - COARSE_MIDDLE  # fmt: skip
COARSE_MIDDLE, COARSE_EDGE = 10.0, 4.492908
NORMAL_MIDDLE, NORMAL_EDGE = 11.0, 5.2450104  # at the edge, it rounds to 1/2 as nearly as float32 can

# float64, for pow.
LOG2_RATIO = (2.885390081790141, 0.9617966732838388, 0.5770835945235977, 0.41167221487307054, 0.3407384076720674)
EXP2 = (
    0.999999999961682, 0.6931471807284487, 0.24022651198157707, 0.05550410353443497,
    0.009618027253637432, 0.0013333922566871317, 0.00015469291152942112, 1.5201920879207522e-05,
)  # fmt: skip


def polynomial(e: Emitter, t: Vec, coefficients: Sequence[float], above: Vec | None = None) -> Vec:
    """sum(coefficients[k] * t**k) by Horner's rule, one fused multiply-add for each power.

    `above` is the sum of the powers that follow, divided by the first of them.
    """
    below = list(coefficients)
    total = e.like(t, below.pop()) if above is None else above
    for coefficient in reversed(below):
        total = e.fma(total, t, coefficient)
    return total


def exp(e: Emitter, x: Vec) -> Vec:
    """e**x within 1 ulp.  Below 2**-125.5 (x < -86.99) the result is 0, above float32's largest it is inf.

    14 operations.
    """
    return _exp_inside(e, e.min(e.like(x, 89.0), e.max(e.like(x, -87.5), x)))


def _reduce(e: Emitter, x: Vec, bias: int) -> tuple[Vec, Vec]:
    """(r, s) with x = n * ln 2 + r, |r| <= ln(2) / 2, n whole, and s = 2**(n + bias - 127) where that is normal.

    Adding 1.5 * 2**23 rounds to whole numbers; with `bias` on top, the low bits of the sum are s's exponent.
    """
    shifter = SHIFTER + bias
    shifted = e.fma(x, LOG2E, shifter)
    n = shifted - shifter
    r = e.fma(n, -LN2_LOW, e.fma(n, -LN2_HIGH, x))  # the inner one is exact
    return r, e.bitcast(e.arithmetic("shl", e.bitcast(shifted, DType.I32), 23), DType.F32)


def _exp_inside(e: Emitter, x: Vec) -> Vec:
    """e**x for x in [-87.6, 89] and for NaN.  It is s * 2e**r with half the scale in s, which 2**128 would overflow."""
    r, s = _reduce(e, x, bias=126)
    return polynomial(e, r, [2.0, 2.0, *(2.0 * c for c in EXP_TAIL)]) * s


def exp2_coarse(e: Emitter, y: Vec) -> Vec:
    """2**(y / 2**23), times 73.9, to 4e-6 of it; for y below -125 * 2**23 and NaN as for that.  9 operations.

    For weights that are divided by their sum, and narrowed.  As a whole number, y holds the exponent of the result
    above 23 bits of its fraction f.  So these, as the bits of 1 + f, are what a polynomial makes 2**f of: one that
    begins with 1 instead of 1 / 73.9, which saves a multiplication.
    """
    bits = e.convert(e.max(y, -125.0 * EXPONENT_STEP), "fptosi", DType.I32)
    whole = e.arithmetic("and_", bits, -(2**23))
    more = e.bitcast(e.arithmetic("or_", e.arithmetic("and_", bits, 2**23 - 1), BITS_OF_ONE), DType.F32)
    power = polynomial(e, more, EXP2_COARSE[:-1], more + EXP2_COARSE[-1])
    return e.bitcast(e.bitcast(power, DType.I32) + whole, DType.F32)


def log(e: Emitter, x: Vec) -> Vec:
    """The natural logarithm within 1 ulp, of subnormal numbers too; -inf of +-0, NaN below.  31 operations."""
    tiny = e.choose("<", x, 2.0**-126, x * 2.0**23, x)
    bits = e.bitcast(tiny, DType.I32)
    whole = e.arithmetic("ashr", bits - 0x3F2AAAAB, 23)  # the power of two that leaves x / 2**whole in [2/3, 4/3)
    f = e.bitcast(bits - e.arithmetic("shl", whole, 23), DType.F32) - 1.0
    k = e.convert(whole, "sitofp", DType.F32)
    k = e.choose("<", x, 2.0**-126, k - 23.0, k)
    square = f * f
    tail = e.fma(k, LN2_LOW, square * f * polynomial(e, f, LOG_TAIL))
    result = e.fma(k, LN2_HIGH, f + e.fma(square, -0.5, tail))
    result = e.choose("<", x, INF, result, x)  # inf and NaN stay
    return e.choose(">", x, 0.0, result, e.choose("==", x, 0.0, -INF, e.choose("<", x, 0.0, NAN, result)))


def erf(e: Emitter, x: Vec) -> Vec:
    """The error function within 2 ulp; odd, and exactly 1 from 3.92 on.  26 operations."""
    size = e.unary("fabs", x)
    small = e.fma(size, polynomial(e, size * size, ERF_SMALL), size)
    large = e.min(e.like(x, 1.0), polynomial(e, e.min(e.like(x, 3.92), size) - 2.5, ERF_LARGE))
    return e.binary("copysign", e.choose("<", size, 1.0, small, large), x)


def tanh(e: Emitter, x: Vec) -> Vec:
    """The hyperbolic tangent within 2 ulp; odd, and exactly 1 from 9.02 on.

    A polynomial up to 0.4; beyond, with m = e**(2|x|) - 1, m / (m + 2).  25 operations and a division.
    """
    size = e.min(e.like(x, 9.1), e.unary("fabs", x))
    square = size * size
    small = e.fma(square * size, polynomial(e, square, TANH_TAIL), size)
    r, s = _reduce(e, size + size, bias=127)
    m = e.fma(e.fma(r * r, polynomial(e, r, EXP_TAIL), r), s, s - 1.0)
    return e.binary("copysign", e.choose("<", size, 0.4, small, m / (m + 2.0)), x)


def sigmoid(e: Emitter, x: Vec) -> Vec:
    """1 / (1 + e**-x) within 2.5 ulp; 0 where e**-x overflows, at x < -88.72.  15 operations and a division."""
    return 1.0 / (exp(e, -x) + 1.0)


def silu(e: Emitter, x: Vec) -> Vec:
    """x * sigmoid(x) within 2.5 ulp down to x = -88.72; -0 below, at -inf too.  15 operations and a division."""
    inside = e.max(e.like(x, -89.0), x)
    return inside / (_exp_inside(e, e.max(e.like(x, -87.5), -inside)) + 1.0)


def silu_coarse(e: Emitter, x: Vec) -> Vec:
    """x * sigmoid(x), off by at most 2.5e-5 * max(1, |x|).  For what is narrowed at once.  16 operations."""
    inside = e.max(e.like(x, -83.0), x)
    rough, rest = _logistic(e, _at_most(e, inside, 86.0), LOG2E)
    return (inside * rough) * rest


def sigmoid_coarse(e: Emitter, x: Vec) -> Vec:
    """1 / (1 + e**-x), off by at most 2.5e-5.  For what is narrowed at once.  15 operations."""
    rough, rest = _logistic(e, e.min(e.like(x, 86.0), e.max(e.like(x, -83.0), x)), LOG2E)
    return rough * rest


def _at_most(e: Emitter, x: Vec, most: float) -> Vec:
    """min(x, most) of a positive bound, as whole numbers: those have more ports.  NaN becomes the bound."""
    return e.bitcast(e.binary("smin", e.bitcast(x, DType.I32), e.bitcast(e.like(x, most), DType.I32)), DType.F32)


def _logistic(e: Emitter, x: Vec, factor: Vec | float) -> tuple[Vec, Vec]:
    """Two factors of 1 / (1 + 2**-y) for y = x * factor from -120 to 125, to 7.7e-5 of 2**-y and 1.5e-6 of the result.

    2**-y is normal: subnormal numbers take some processors a hundred cycles.  The bits of a number, subtracted from a
    constant, are roughly those of its reciprocal: their product with it is from 0.70703 to 0.72849, whose reciprocal is
    a short polynomial.
    """
    shifter = SHIFTER + 127
    shifted = e.fma(x, -e.like(x, factor), shifter)
    f = e.fma(x, factor, shifted - shifter)  # y less its nearest whole number
    fraction = polynomial(e, f, [c * (-1) ** power for power, c in enumerate(EXP2_COARSER)])
    total = e.fma(fraction, e.bitcast(e.arithmetic("shl", e.bitcast(shifted, DType.I32), 23), DType.F32), 1.0)
    rough = e.bitcast(0x7EB50000 - e.bitcast(total, DType.I32), DType.F32)
    return rough, polynomial(e, total * rough, RECIPROCAL)


def gelu_erf(e: Emitter, x: Vec) -> Vec:
    """x * Phi(x) = x / 2 * (1 + erf(x / sqrt(2))), off by at most 1.5e-7 * max(1, |x|).

    Relative to the result: 3e-5 for x in [-3, 0), 1.7e-7 for x >= 0.  From 5.2450104 on it is exactly x; from there
    down on the other side, |result| < 2e-10, at -inf too.  Phi(x) - 1/2 is x times a polynomial of x**2, which costs
    less than a ratio of two: 19 operations.
    """
    return _gelu(e, x, NORMAL, NORMAL_MIDDLE, NORMAL_EDGE)


def gelu_coarse(e: Emitter, x: Vec) -> Vec:
    """x * Phi(x), off by at most 3.4e-5, from 4.4929 on exactly x.  For what is narrowed at once.  13 operations."""
    return _gelu(e, x, NORMAL_COARSE, COARSE_MIDDLE, COARSE_EDGE)


def _gelu(e: Emitter, x: Vec, table: Sequence[float], middle: float, edge: float) -> Vec:
    """The polynomial comes to 1/2 at the edge, up to which it is used."""
    inside = e.max(e.like(x, -edge), x)
    bounded = e.min(e.like(x, edge), inside)
    return inside * e.fma(bounded, polynomial(e, e.fma(bounded, bounded, -middle), table), 0.5)


def gelu_tanh(e: Emitter, x: Vec) -> Vec:
    """x / 2 * (1 + tanh(y)) with y = sqrt(2 / pi) * (x + 0.044715 * x**3), as x / (1 + e**(-2y)).

    Off by at most 1.5e-7 * max(1, |x|); relative to the result, 1e-6 for |x| < 3.  18 operations and a division.
    """
    inside = e.max(e.like(x, -10.07), x)  # -2y is 88.9 there: its exp overflows, and needs no upper bound
    scale = -2.0 * 0.7978845608028654
    exponent = inside * e.fma(inside * inside, scale * 0.044715, scale)
    return inside / (_exp_inside(e, e.max(e.like(x, -87.5), exponent)) + 1.0)


def gelu_tanh_coarse(e: Emitter, x: Vec) -> Vec:
    """`gelu_tanh`, off by at most 2.5e-5 * max(1, |x|).  For what is narrowed at once.  18 operations."""
    inside = e.max(e.like(x, -9.8), x)
    bounded = _at_most(e, inside, 9.8)
    scale = 2.0 * 0.7978845608028654 * LOG2E
    rough, rest = _logistic(e, bounded, e.fma(bounded * bounded, scale * 0.044715, scale))
    return (inside * rough) * rest


def rsqrt(e: Emitter, x: Vec) -> Vec:
    """1 / sqrt(x), both rounded correctly."""
    return 1.0 / e.unary("sqrt", x)


def pow(e: Emitter, x: Vec, y: Vec) -> Vec:
    """x**y within 0.51 ulp, with C's results for zeros, infinities, NaN and negative x.  Computed in float64."""
    size = e.unary("fabs", x)
    exponent = e.max(e.like(y, -LARGEST), e.min(e.like(y, LARGEST), y))  # 0 * exponent is 0
    product = log2_f64(e, e.convert(size, "fpext", DType.F64)) * e.convert(exponent, "fpext", DType.F64)
    result = e.convert(exp2_f64(e, product), "fptrunc", DType.F32)

    half = y * 0.5
    odd = e.choose("!=", e.unary("floor", half), half, -1.0, e.like(y, 1.0))
    endless = e.choose("==", x + x, x, 1.0, NAN)  # zeros and infinities take any y
    sign = e.choose("==", e.unary("floor", y), y, odd, endless)
    result = e.choose("<", e.binary("copysign", e.like(x, 1.0), x), 0.0, result * sign, result)
    return e.choose("==", x, 1.0, 1.0, e.choose("==", y, 0.0, 1.0, result))


def log2_f64(e: Emitter, x: Vec) -> Vec:
    """log2 of float64 x >= 0 to 1e-11 of the result; -inf at 0, and inf and NaN as they are."""
    bits = e.bitcast(x, DType.I64)
    whole = e.arithmetic("ashr", bits - 0x3FE6A09E667F3BCD, 52)
    m = e.bitcast(bits - e.arithmetic("shl", whole, 52), DType.F64)
    z = (m - 1.0) / (m + 1.0)
    result = e.fma(z, polynomial(e, z * z, LOG2_RATIO), e.convert(whole, "sitofp", DType.F64))
    return e.choose("==", x, 0.0, -INF, e.choose("<", x, INF, result, x))


def exp2_f64(e: Emitter, x: Vec) -> Vec:
    """2**x of float64 x to 5e-11 of the result; beyond +-1000 as there."""
    inside = e.min(e.like(x, 1000.0), e.max(e.like(x, -1000.0), x))
    shifter = 1.5 * 2.0**52 + 1023
    shifted = inside + shifter
    f = inside - (shifted - shifter)
    bits = e.bitcast(shifted, DType.I64)
    return polynomial(e, f, EXP2) * e.bitcast(e.arithmetic("shl", bits, 52), DType.F64)


def tree_of_rows(e: Emitter, rows: Sequence[Sequence[Vec]], combine: Callable[[Vec, Vec], Vec]) -> Vec:
    """`tree` of 16 lanes each of two or four rows at once, in as many steps: each row has its share of the lanes."""
    level = [_one_vector(parts, combine) for parts in rows]
    lanes = width = level[0].lanes
    while len(level) > 1:
        width //= 2
        kept = [[lane for lane in range(2 * lanes) if lane // width % 2 == half] for half in (0, 1)]
        pairs = zip(level[::2], level[1::2], strict=True)
        level = [combine(*(e.shuffle(a, b, half) for half in kept)) for a, b in pairs]
    (joint,) = level
    while width > 1:
        width //= 2
        joint = combine(joint, e.shuffle(joint, joint, [lane ^ width for lane in range(lanes)]))
    return joint


def tree_add(e: Emitter, parts: Sequence[Vec]) -> ir.Value:
    """The sum of the 16 lanes that `parts` hold together (one vector, two or four, in order), in one fixed order.

    Lane i and lane i + 8 first, then i + 4, i + 2, i + 1: the same bits however wide the vectors are.
    """
    return tree(e, parts, lambda a, b: a + b)


def tree_max(e: Emitter, parts: Sequence[Vec]) -> ir.Value:
    """The largest of 16 lanes, by the tree of `tree_add`.  With a NaN among them it is one of the lanes, no more."""
    return tree(e, parts, e.max)


def tree_min(e: Emitter, parts: Sequence[Vec]) -> ir.Value:
    """The smallest of 16 lanes, by the tree of `tree_add`.  With a NaN among them it is one of the lanes, no more."""
    return tree(e, parts, e.min)


def tree(e: Emitter, parts: Sequence[Vec], combine: Callable[[Vec, Vec], Vec]) -> ir.Value:
    """16 lanes combined to one element, by the tree of `tree_add`."""
    if (lanes := sum(part.lanes for part in parts)) != 16:
        raise ValueError(f"tree: expected parts of 16 lanes together, got {lanes}")
    vector = _one_vector(parts, combine)
    while (width := vector.lanes) > 1:
        low, high = (e.shuffle(vector, vector, range(start, start + width // 2)) for start in (0, width // 2))
        vector = combine(low, high)
    return e.lane(vector, 0)


def _one_vector(parts: Sequence[Vec], combine: Callable[[Vec, Vec], Vec]) -> Vec:
    """The first steps of a tree: as many lanes as one vector has."""
    level = list(parts)
    while len(level) > 1:
        half = len(level) // 2
        level = [combine(a, b) for a, b in zip(level[:half], level[half:], strict=True)]
    return level[0]
