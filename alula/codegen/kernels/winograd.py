"""Winograd's F(4 x 4, 3 x 3): the 16 sums of 4 x 4 places from 36 products of transformed numbers instead of 144.

An output tile is A^T [(G w G^T) * (B^T d B)] A, where d are the 6 x 6 pixels under it and w the 3 x 3 weights.
Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks, 2015, arXiv 1509.09308.  Here for floats:
polynomials are evaluated at 0, NEAR, -NEAR, FAR, -FAR and infinity.  With 1 and 2, the usual points, the sums of 256
channels are off by 3.2e-6 of their spread; with these by 1.5e-6, the worst place of a tile by 2.1e-6 instead of 9.3e-6.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import isqrt

from alula.codegen.kernels.dot import DOT_F32, Dot, half_of
from alula.codegen.kernels.elementwise import as_f32
from alula.codegen.vector import Emitter, Vec
from alula.core.dtype import DType

SIDE = 4  # of an output tile
KERNEL = 3
REACH = SIDE + KERNEL - 1  # side of the pixels under a tile, and of its points
POINTS = REACH * REACH
NEAR, FAR = 2**-0.5, 2**0.5  # their product is 1, which saves two multiplications a line

Transform = Callable[[Emitter, Sequence[Vec]], list[Vec]]


@dataclass(frozen=True, slots=True)
class Numbers:
    """The algorithm for one kind of numbers, which `dot` multiplies.

    `pixel` makes them of pixels as they are stored, `weights` of words of packed weights: as many vectors as there are
    words of the product in one of those.  The transforms take squares, line by line: 36 pixels and 9 weights to 36
    points, 36 sums of products to the sums of 16 places.
    """

    dot: Dot
    pixel: Callable[[Emitter, Vec, DType], Vec]
    weights: Callable[[Emitter, Vec, DType], list[Vec]]
    of_pixels: Transform
    of_weights: Transform
    to_places: Transform


def both_ways(transform: Transform) -> Transform:
    """The transform down the columns of a square, then along its rows."""

    def of_square(e: Emitter, square: Sequence[Vec]) -> list[Vec]:
        side = isqrt(len(square))
        columns = [transform(e, square[n::side]) for n in range(side)]
        return [value for row in zip(*columns, strict=True) for value in transform(e, row)]

    return of_square


def _plain(e: Emitter, words: Vec, dtype: DType) -> list[Vec]:
    """Weights as float32: bfloat16 lies two in a word."""
    return [half_of(e, words, n) for n in range(2)] if dtype is DType.BF16 else [as_f32(e, words, dtype)]


def _of_pixels(e: Emitter, d: Sequence[Vec]) -> list[Vec]:
    """B^T d: six pixels in a line as six points."""

    def pair(point: float) -> list[Vec]:
        other = 1 / point**2
        even, odd = e.fma(d[2], -other, d[4]), e.fma(d[1], -point * other, d[3] * point)
        return [even + odd, even - odd]

    def end(first: int) -> Vec:
        return e.fma(d[first + 2], -(NEAR**2 + FAR**2), d[first] + d[first + 4])

    return [end(0), *pair(NEAR), *pair(FAR), end(1)]


def _of_weights(e: Emitter, g: Sequence[Vec]) -> list[Vec]:
    """G g: three weights in a line as six points."""

    def pair(point: float) -> list[Vec]:
        share = 1 / (2 * (point**4 - 1))
        even, odd = e.fma(g[2], share * point**2, g[0] * share), g[1] * (share * point)
        return [even + odd, even - odd]

    return [g[0], *pair(NEAR), *pair(FAR), g[2]]


def _to_sums(e: Emitter, m: Sequence[Vec]) -> list[Vec]:
    """A^T m: six points as four sums."""
    (near, close), (far, wide) = ((m[n] + m[n + 1], m[n] - m[n + 1]) for n in (1, 3))
    return [
        m[0] + near + far,
        e.fma(wide, FAR, close * NEAR),
        e.fma(far, FAR**2, near * NEAR**2),
        e.fma(wide, FAR**3, e.fma(close, NEAR**3, m[5])),
    ]


FLOATS = Numbers(DOT_F32, as_f32, _plain, both_ways(_of_pixels), both_ways(_of_weights), both_ways(_to_sums))
