"""Winograd's F(4 x 4, 3 x 3) for bytes, exactly: four times fewer products, of words of 16 bits.

Polynomials are evaluated at 0, 1, -1, 2, -2 and infinity.  Transformed pixels are whole numbers between -12,750 and
17,340.  Weights are transformed by 24 G, but the last row by 12: the most is then 18,288, for 127 in the nine places.
So the places' sums come out as 576 = 9 * 2^6 times what they are (the last row's half is made up for in `_to_sums`).
All of that is arithmetic modulo 2^32, where 9 has an inverse: what is left after it is 2^6 times the sum modulo 2^32,
and that is the sum itself where it fits 26 bits with its sign, however far the sums on the way have gone round.
"""

from __future__ import annotations

from collections.abc import Sequence

from alula.codegen.kernels.dot import DOT_INT16
from alula.codegen.kernels.winograd import Numbers, both_ways
from alula.codegen.vector import Emitter, Vec
from alula.core.dtype import DType

SUM_BITS = 26  # that the sum of a place may have
SHIFT = 32 - SUM_BITS
INVERSE = pow(9, -1, 2**32)


def _pixel(e: Emitter, bytes: Vec, dtype: DType) -> Vec:
    return e.convert(bytes, "zext", DType.I16)


def _weights(e: Emitter, words: Vec, dtype: DType) -> list[Vec]:
    """The first and the second two of four bytes in each lane, as two words of 16 bits."""
    bytes = e.bitcast(words, DType.I8)
    zeros = e.like(bytes, 0)
    halves = []
    for n in (0, 2):
        pairs = [(lane + n, lane + n + 1) for lane in range(0, bytes.lanes, 4)]
        high = [place for pair in pairs for byte in pair for place in (bytes.lanes, byte)]
        halves.append(e.arithmetic("ashr", e.bitcast(e.shuffle(bytes, zeros, high), DType.I16), 8))
    return halves


def _of_pixels(e: Emitter, d: Sequence[Vec]) -> list[Vec]:
    """B^T d: six pixels in a line as six points."""
    even, odd = d[4] - _times4(e, d[2]), d[3] - _times4(e, d[1])
    far, step = d[4] - d[2], d[3] - d[1]
    wide = step + step
    return [
        far + _times4(e, d[0] - d[2]),
        even + odd,
        even - odd,
        far + wide,
        far - wide,
        d[5] - d[3] - (wide + wide),
    ]


def _of_weights(e: Emitter, g: Sequence[Vec]) -> list[Vec]:
    """24 G g, but 12 in the last place: three weights in a line as six points."""
    near, middle, far, twice = g[0] + g[2], _times4(e, g[1]), g[0] + _times4(e, g[2]), g[1] + g[1]
    outer = _times4(e, near)
    return [g[0] * 6, e.like(near, 0) - outer - middle, middle - outer, far + twice, far - twice, g[2] * 12]


def _to_sums(e: Emitter, m: Sequence[Vec]) -> list[Vec]:
    """A^T m: six points as four sums, the last point twice."""
    (near, close), (far, wide) = ((m[n] + m[n + 1], m[n] - m[n + 1]) for n in (1, 3))
    last = _times4(e, wide) + m[5]
    return [m[0] + near + far, close + wide + wide, near + _times4(e, far), close + last + last]


def _times4(e: Emitter, x: Vec) -> Vec:
    return e.arithmetic("shl", x, 2)


def _to_places(e: Emitter, points: Sequence[Vec]) -> list[Vec]:
    return [e.arithmetic("ashr", total * INVERSE, SHIFT) for total in both_ways(_to_sums)(e, points)]


WORDS = Numbers(DOT_INT16, _pixel, _weights, both_ways(_of_pixels), both_ways(_of_weights), _to_places)
