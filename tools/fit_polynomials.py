"""Derives the coefficients of alula/codegen/kernels/math.py and prints them: `python tools/fit_polynomials.py`.

Each polynomial has the least maximal weighted error (Remez's exchange in float64, on a dense grid) of those whose
coefficients are float32 numbers, or nearly: they are rounded one after another, from the highest power down, and the
others fitted again each time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

Array = np.ndarray
GRID = 4001


def chebyshev_grid(low: float, high: float, count: int = GRID) -> Array:
    """Points of [low, high], denser at both ends, where the extremes of the error crowd."""
    return (low + high) / 2 - (high - low) / 2 * np.cos(np.linspace(0.0, np.pi, count))


def exchange(basis: Array, target: Array, spots: Array, turns: int = 60) -> tuple[Array, Array]:
    """The coefficients c that minimise max |target - basis @ c| over the rows, and the rows where it is reached.

    Remez's exchange; `spots` are the rows to begin with, one more than there are coefficients.
    """
    needed = basis.shape[1] + 1
    signs = (-1.0) ** np.arange(needed)
    for _ in range(turns):
        solution = np.linalg.solve(np.column_stack([basis[spots], signs]), target[spots])[:-1]
        error = target - basis @ solution
        # One extreme in each stretch of one sign; where there are too many, the smaller of the outer two goes.
        stretches = np.split(np.arange(len(error)), np.flatnonzero(np.diff(np.signbit(error))) + 1)
        extremes = [stretch[np.abs(error[stretch]).argmax()] for stretch in stretches]
        while len(extremes) > needed:
            extremes.pop(0 if abs(error[extremes[0]]) < abs(error[extremes[-1]]) else -1)
        if len(extremes) < needed or np.array_equal(extremes, spots):
            break
        spots = np.array(extremes)
    return solution, spots


def fit(
    function: Callable[[Array], Array],
    degree: int,
    interval: tuple[float, float],
    weight: Callable[[Array], Array] = np.ones_like,
    rounded: type[np.floating] = np.float32,
) -> tuple[list[np.floating], float]:
    """`rounded` coefficients of a polynomial near `function`, lowest power first, and the maximal weighted error."""
    t = chebyshev_grid(*interval)
    scale = max(abs(end) for end in interval)
    basis = np.stack([(t / scale) ** power for power in range(degree + 1)], axis=1) * weight(t)[:, None]
    target = function(t) * weight(t)
    spots = np.round((1 - np.cos(np.linspace(0.0, np.pi, degree + 2))) / 2 * (GRID - 1)).astype(int)
    coefficients: list[np.floating] = []
    previous = None
    for power in reversed(range(degree + 1)):
        left = basis[:, : power + 1]
        best, spots = exchange(left, target, spots)
        if previous is not None:  # rounding can leave too few extremes to exchange
            best = min(best, previous, key=lambda solution: np.abs(target - left @ solution).max())
        coefficients.insert(0, rounded(best[-1] / scale**power))
        target = target - basis[:, power] * float(coefficients[0]) * scale**power
        previous, spots = best[:-1], spots[:-1]
    return coefficients, float(np.abs(target).max())


vectorised_erf = np.vectorize(math.erf, otypes=[float])


def exp_tail(r: Array) -> Array:
    """(exp(r) - 1 - r) / r**2, by its series: r is small enough."""
    return sum(r**k / math.factorial(k + 2) for k in range(16))


def log_tail(f: Array) -> Array:
    """(log(1 + f) - f + f**2 / 2) / f**3, by its series where the difference would cancel."""
    series = sum((-f) ** k / (k + 3) for k in range(24))
    g = np.where(np.abs(f) < 0.1, 1.0, f)
    return np.where(np.abs(f) < 0.1, series, (np.log1p(g) - g + g * g / 2) / g**3)


def erf_ratio(u: Array) -> Array:
    """erf(z) / z for u = z**2."""
    z = np.sqrt(np.maximum(u, 1e-14))
    return vectorised_erf(z) / z


def tanh_tail(u: Array) -> Array:
    """(tanh(z) / z - 1) / u for u = z**2, by its series where the difference would cancel."""
    series = -1 / 3 + u * (2 / 15 + u * (-17 / 315 + u * 62 / 2835))
    z = np.sqrt(np.maximum(u, 1e-3))
    return np.where(u < 1e-3, series, (np.tanh(z) / z - 1) / z**2)


def normal_ratio(u: Array) -> Array:
    """(Phi(x) - 1/2) / x for u = x**2, Phi being the normal distribution function."""
    return erf_ratio(u / 2) / math.sqrt(8)


def fma(a: Array, b: Array, c: Array | float) -> Array:
    """a * b + c in float32; the product is exact in float64."""
    return (a.astype(np.float64) * b + c).astype(np.float32)


def gelu_edge(coefficients: Sequence[float], middle: float, near: float) -> float:
    """Of the float32 numbers close to `near`, the one at which the evaluated x * P comes closest to 1/2."""
    x = near + np.arange(-30_000, 0) * np.spacing(np.float32(near))
    x = x.astype(np.float32)
    s = fma(x, x, -middle)
    total = np.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        total = fma(total, s, coefficient)
    return float(x[np.abs(x.astype(np.float64) * total - 0.5).argmin()])


def log2_ratio(u: Array) -> Array:
    """log2((1 + z) / (1 - z)) / z for u = z**2, by its series."""
    return sum(2 / math.log(2) * u**k / (2 * k + 1) for k in range(40))


def main() -> None:
    """Print every table as it stands in math.py, and the maximal error of the exact polynomial."""
    half = math.log(2) / 2
    show("EXP_TAIL", fit(exp_tail, 4, (-half, half), lambda r: r**2 / np.exp(r)))

    *below, leading = fit(lambda m: np.exp2(m - 1), 4, (1.0, 2.0), lambda m: np.exp2(1 - m), np.float64)[0]
    show("EXP2_COARSE", monic(below, leading, lambda m: np.exp2(m - 1), (1.0, 2.0)))
    show("EXP2_COARSER", fit(np.exp2, 3, (-0.5, 0.5), lambda f: np.exp2(-f)))

    show("RECIPROCAL", fit(lambda p: 1 / p, 2, (0.70703, 0.72849), lambda p: p))

    def log_weight(f: Array) -> Array:
        return f**3 / np.log1p(np.where(f == 0, 1e-9, f))

    show("LOG_TAIL", fit(log_tail, 7, (-1 / 3, 1 / 3), log_weight))
    show("TANH_TAIL", fit(tanh_tail, 3, (0.0, 0.16), lambda u: u))
    show("ERF_SMALL", fit(lambda u: erf_ratio(u) - 1, 6, (0.0, 1.0), lambda u: 1 / erf_ratio(u)))
    show("ERF_LARGE", fit(lambda t: vectorised_erf(t + 2.5), 12, (-1.5, 1.42)))
    show_normal("NORMAL", 14, 11.0, 5.25, lambda u: np.sqrt(u) + 0.02)
    show_normal("NORMAL_COARSE", 8, 10.0, 4.5, lambda u: u + 0.02)
    show("LOG2_RATIO", fit(log2_ratio, 4, (0.0, (math.sqrt(2) - 1) ** 4), rounded=np.float64))
    show("EXP2", fit(np.exp2, 7, (-0.5, 0.5), lambda f: np.exp2(-f), rounded=np.float64))


def monic(
    below: Sequence[float], leading: float, function: Callable[[Array], Array], interval: tuple[float, float]
) -> tuple[list[np.floating], float]:
    """What is below a polynomial's highest power once that counts 1, in float32, and the largest relative error."""
    coefficients = [np.float32(c / leading) for c in below]
    t = chebyshev_grid(*interval)
    total = leading * sum(float(c) * t**power for power, c in enumerate([*coefficients, 1.0]))
    return coefficients, float(np.abs(total / function(t) - 1).max())


def show_normal(name: str, degree: int, middle: float, near: float, weight: Callable[[Array], Array]) -> None:
    """A table of (Phi(x) - 1/2) / x by x**2 - middle, weighted by x**2, and the edge up to which it is used."""
    fitted = fit(
        lambda s: normal_ratio(s + middle),
        degree,
        (-middle, near**2 - middle),
        lambda s: weight(np.maximum(s + middle, 0.0)),
    )
    show(name, fitted)
    print(f"{name} edge = {np.float32(gelu_edge(fitted[0], middle, near))!s}")


def show(name: str, fitted: tuple[list[np.floating], float]) -> None:
    """One table, lowest power first."""
    coefficients, error = fitted
    print(f"{name} = ({', '.join(str(c) for c in coefficients)})  # {error:.1e}")


if __name__ == "__main__":
    main()
