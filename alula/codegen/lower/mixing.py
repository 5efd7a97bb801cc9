"""Weights times values, the second product of attention: in float32, in bfloat16, or as bytes.

Weights are not divided by their sum yet: in float32 the largest of a row is 1, otherwise it is `EXP2_COARSE_UNIT`, and
their sum is of the same.  As bytes they are whole 65280ths of it in two bytes each, and every column of the values has
a scale of its own: two exact products.  Of 64 keys a word of bytes holds four that are 16 apart: so four vectors of
weights become words lane by lane.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alula.codegen.kernels.dot import DOT_BF16, DOT_F32, DOT_INT8
from alula.codegen.kernels.elementwise import as_f32
from alula.codegen.kernels.math import EXP2_COARSE_UNIT, SHIFTER
from alula.codegen.kernels.matrix import TILE_WORDS
from alula.codegen.kernels.narrow import to_bf16
from alula.codegen.kernels.rows import VIRTUAL_LANES, Piece, columns, fold_columns, store_parts
from alula.codegen.kernels.tiling import Strides, Tiling, call_tile
from alula.codegen.lower.sharing import fill_zeros
from alula.codegen.vector import Emitter, Int, Ptr, Vec
from alula.core.dtype import DType
from alula.ops.attention import WEIGHT_STEPS
from alula.ops.quantize import STEPS

GROUP = 4 * VIRTUAL_LANES  # keys
EVEN_BYTES, ODD_BYTES = 0x00FF00FF, 0xFF00FF00 - 2**32  # of a word


@dataclass(frozen=True, slots=True)
class Mixing:
    """weights[rows,m] @ values[m,v] by tiles of `tiling`; values of dtype `source` lie in rows of `row` elements.

    `scores` words lie between rows of float32 scores, whose place float32 weights take.
    """

    tiling: Tiling
    m: int
    v: int
    row: int
    source: DType
    scores: int

    @property
    def words(self) -> int:
        """Words of k: keys in whole words, and in whole tiles of them for matrix registers."""
        words = -(-self.m // self.tiling.dot.group)
        return -(-words // TILE_WORDS) * TILE_WORDS if self.tiling.matrix else words

    @property
    def widest(self) -> int:
        """Keys whose weights are stored at a time."""
        return GROUP if self.tiling.dot is DOT_INT8 else VIRTUAL_LANES

    @property
    def weight_row(self) -> int:
        """Words from a row of weights to the next."""
        return self.scores if self.tiling.dot is DOT_F32 else self.words

    def value_row(self, lanes: int) -> int:
        """Words from a row of packed values to the next; 0 where values are read in place."""
        width = -(-self.v // lanes) * lanes
        return 0 if self.tiling.dot is DOT_F32 and width == self.v else width

    def rooms(self, lanes: int) -> tuple[int, int, int]:
        """Words that (values, weights, scales of the columns) take in the scratch."""
        planes = {DOT_F32: 0, DOT_BF16: 1, DOT_INT8: 2}[self.tiling.dot]
        scales = self.value_row(lanes) if self.tiling.dot is DOT_INT8 else 0
        return self.words * self.value_row(lanes), planes * self.tiling.rows * self.words, scales


@dataclass(slots=True)
class Mixer:
    """The code of a `Mixing` with its places: values as tiles read them, weights, scales of the columns."""

    e: Emitter
    mixing: Mixing
    values: Ptr
    weights: Ptr
    scales: Ptr

    def prepare(self, v: Ptr) -> None:
        """Packs the values, once for all tiles of rows."""
        e, mixing = self.e, self.mixing
        row = mixing.value_row(e.lanes)
        if mixing.tiling.dot is DOT_F32:
            if row:
                _pad_values(e, mixing, v, self.values, row)
            else:
                self.values = v
            return
        planes = 2 if mixing.tiling.dot is DOT_INT8 else 1
        fill_zeros(e, self.weights, planes * mixing.tiling.rows * mixing.words)  # what lies beyond the last key stays 0
        if mixing.tiling.dot is DOT_BF16:
            _pair_values(e, mixing, v, self.values, row)
        else:
            _byte_values(e, mixing, v, self.values, self.scales, row)

    def store(self, row: Int) -> Callable[[Piece, Sequence[Vec]], None]:
        """What writes weights of a row of the tile, piece by piece."""
        e, mixing, dot = self.e, self.mixing, self.mixing.tiling.dot
        line = self.weights.at(row * mixing.weight_row).cast(dot.a)
        low = line.at(mixing.tiling.rows * mixing.words * dot.group) if dot is DOT_INT8 else line

        def write(piece: Piece, values: Sequence[Vec]) -> None:
            if dot is DOT_F32:
                store_parts(e, values, line, piece)
            elif dot is DOT_BF16:
                store_parts(e, [to_bf16(e, value) for value in values], line, piece)
            elif len(values) * e.lanes == GROUP:
                _store_words(e, [_level(e, value) for value in values], line, low, piece.column)
            else:
                levels = [_level(e, value) for value in values]
                upper = [e.arithmetic("lshr", level, 8) for level in levels]
                store_parts(e, [e.convert(level, "trunc", DType.U8) for level in upper], line, piece)
                store_parts(e, [e.convert(level, "trunc", DType.U8) for level in levels], low, piece)

        return write

    def mix(self, rows: int, room: Ptr, use: Callable[[int, int, Callable[[Int, int], Vec]], None]) -> None:
        """For every few columns `use(first, count, mixed)`; mixed(row, column) is a vector of the tile's products."""
        e, mixing, tiling = self.e, self.mixing, self.mixing.tiling
        step = tiling.vectors * e.lanes
        for first in range(0, mixing.v, step):
            vectors = min(tiling.vectors, -(-(mixing.v - first) // e.lanes))
            width = vectors * e.lanes
            strides = Strides(mixing.weight_row, mixing.value_row(e.lanes) or mixing.row, width)
            planes = [room, room.at(tiling.rows * width)] if tiling.dot is DOT_INT8 else [room]
            for number, sums in enumerate(planes):
                weights = self.weights.at(number * tiling.rows * mixing.words)
                operands = weights, self.values.at(first), sums
                call_tile(e, tiling, strides, rows, operands, mixing.words, vectors=vectors)

            def mixed(row: Int, column: int) -> Vec:
                spot = row * width + column  # noqa: B023
                sums = [e.load(plane.cast(tiling.dot.sum), spot) for plane in planes]  # noqa: B023
                if tiling.dot is not DOT_INT8:
                    return sums[0]
                upper, lower = (e.convert(total, "sitofp", DType.F32) for total in sums)
                return e.fma(upper, 256.0, lower) * e.load(self.scales, first + column)  # noqa: B023

            use(first, min(step, mixing.v - first), mixed)


def _level(e: Emitter, weight: Vec) -> Vec:
    """A weight as whole 65280ths of the largest, ties to even, in the low bits of 32."""
    return e.bitcast(e.fma(weight, WEIGHT_STEPS / EXP2_COARSE_UNIT, SHIFTER), DType.I32)


def _store_words(e: Emitter, levels: Sequence[Vec], upper: Ptr, lower: Ptr, key: Int) -> None:
    """The levels of 64 keys from `key` on, as words of their upper and of their lower bytes."""
    step = len(levels) // 4
    for n in range(step):
        a, b, c, d = levels[n::step]
        even = e.arithmetic("or_", e.arithmetic("and_", a, 0xFFFF), e.arithmetic("shl", c, 16))
        odd = e.arithmetic("or_", e.arithmetic("and_", b, 0xFFFF), e.arithmetic("shl", d, 16))
        high = e.arithmetic("and_", e.arithmetic("lshr", even, 8), EVEN_BYTES)
        low = e.arithmetic("shl", e.arithmetic("and_", odd, EVEN_BYTES), 8)
        at = key // 4 + n * e.lanes
        e.store(e.arithmetic("or_", high, e.arithmetic("and_", odd, ODD_BYTES)), upper.cast(DType.I32), at)
        e.store(e.arithmetic("or_", e.arithmetic("and_", even, EVEN_BYTES), low), lower.cast(DType.I32), at)


def _pad_values(e: Emitter, mixing: Mixing, v: Ptr, values: Ptr, row: int) -> None:
    """v[m,v] -> values[m,row], so that whole vectors can be read."""
    with e.loop(mixing.m) as loop:
        for column, mask in columns(e, mixing.v):
            e.store(e.load(v, loop.index * mixing.row + column, mask), values, loop.index * row + column)


def _pair_values(e: Emitter, mixing: Mixing, v: Ptr, values: Ptr, row: int) -> None:
    """v[m,v] -> values[words][row]: a word holds a column's values of two keys; zeros beyond the last key."""
    step, halves = mixing.row, values.cast(DType.BF16)
    lanes = [place // 2 + place % 2 * e.lanes for place in range(2 * e.lanes)]
    zero = e.constant(0, DType.BF16)

    def pair(number: Int, keys: Sequence[Int]) -> None:
        for column, mask in columns(e, mixing.v):
            upper, *below = [e.load(v, key * step + column, mask) for key in keys]
            joined = e.shuffle(upper, below[0] if below else zero, lanes)
            e.store(joined, halves, (number * row + column) * 2)

    _in_words(e, mixing, values, row, pair)


def _byte_values(e: Emitter, mixing: Mixing, v: Ptr, values: Ptr, scales: Ptr, row: int) -> None:
    """v[m,v] -> values[words][row]: a word holds a column's values of four keys, as whole steps of its scale.

    The scale of a column is a 127th of its largest value, and takes in what a 65280th of a weight is.
    """

    def floats(line: Ptr, column: int, mask: object) -> Vec:
        return as_f32(e, e.load(line, column, mask), mixing.source)  # type: ignore[arg-type]

    def further(key: Int, column: int, mask: object, most: Vec) -> Vec:
        return e.max(e.unary("fabs", floats(v.at(key * mixing.row), column, mask)), most)

    largest = fold_columns(e, mixing.m, mixing.v, 0.0, further, e.max)
    for (column, mask), most in zip(columns(e, mixing.v), largest, strict=True):
        factor = e.choose(">", most, 0.0, float(STEPS) / most, 0.0)
        e.store(most * (EXP2_COARSE_UNIT / (STEPS * WEIGHT_STEPS)), scales, column)

        def quad(number: Int, keys: Sequence[Int]) -> None:
            word = e.constant(0, DType.I32)
            for place, key in enumerate(keys):
                line = v.at(key * mixing.row)
                level = e.bitcast(e.fma(floats(line, column, mask), factor, SHIFTER), DType.I32)  # noqa: B023
                byte = e.arithmetic("and_", level, 255)
                word = e.arithmetic("or_", word, e.arithmetic("shl", byte, 8 * place))
            e.store(word, values.cast(DType.I32), number * row + column)  # noqa: B023

        _in_words(e, mixing, values, row, quad)


def _in_words(e: Emitter, mixing: Mixing, values: Ptr, row: int, word: Callable[[Int, Sequence[Int]], None]) -> None:
    """word(number, keys in it) for all keys, and zeros for the words beyond."""
    size = mixing.tiling.dot.group
    grouped = mixing.m // GROUP * GROUP // size if mixing.tiling.dot is DOT_INT8 else 0
    whole, rest = divmod(mixing.m, size)
    with e.loop(grouped) as loop:
        first = loop.index // VIRTUAL_LANES * GROUP + loop.index % VIRTUAL_LANES
        word(loop.index, [first + place * VIRTUAL_LANES for place in range(size)])
    with e.loop(whole, start=grouped) as loop:
        word(loop.index, [loop.index * size + place for place in range(size)])
    if rest:
        word(e.int(whole), [e.int(whole * size + place) for place in range(rest)])
    used = whole + bool(rest)
    fill_zeros(e, values.at(used * row), (mixing.words - used) * row)
