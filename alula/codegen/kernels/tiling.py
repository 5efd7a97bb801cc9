"""Which tile serves a product, and how rows are cut into tiles."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from alula.codegen.kernels.dot import DOT_F32, Dot
from alula.codegen.kernels.matrix import TILE_ROWS, TILE_WORDS, emit_matrix_tile
from alula.codegen.kernels.tile import Early, Stretches, Tile, accumulate, emit_tile, panel_width, tile_shape, turn_of
from alula.codegen.vector import Emitter, Int, Ptr, Vec
from alula.core.dims import Dim, remainders
from alula.core.target import CpuTarget

TAILS = (8, 4, 2, 1)  # rows of the tiles that finish what whole tiles leave over, where that can be any number
CHAINS = 12  # of multiply-adds that hide each other's latency
MOST_TAILS = 3  # remainders that get a tile of just so many rows each


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tiles of `rows` x `vectors` for one kind of product; `matrix` ones run in tile registers.

    Tiles of matrix registers may read up to `rows` rows beyond those they are asked for.  The sums of `short` ones stay
    in registers for what is done with them.
    """

    dot: Dot
    rows: int
    vectors: int
    matrix: bool = False
    short: bool = False


@dataclass(frozen=True, slots=True)
class Strides:
    """Words from a row to the next of a, b and c."""

    a: int
    b: int
    c: int


def tiling_for(target: CpuTarget, dot: Dot, words: int) -> Tiling:
    """The tiles for stretches of `words` words: matrix registers where they come in whole tiles, else vectors.

    The choice never depends on the batch or the rows, so that an element is the same sum in all of them.
    """
    if target.matrix and dot is not DOT_F32 and words > 0 and words % TILE_WORDS == 0:
        return Tiling(dot, 2 * TILE_ROWS, 2, matrix=True)
    return Tiling(dot, *tile_shape(target, dot))


def shorter(tiling: Tiling, target: CpuTarget, words: int) -> Tiling:
    """Half the rows where a panel of `words` words fits the first-level cache: the sums need not go through memory.

    Half as many chains still hide the latency, and leave registers to what is done with the sums.  Rows in twice as
    many tiles read the panel twice as often.  On a Zen 4 that takes 0.94 of the time for MobileNetV2 in bytes, whose
    rows are short, and 0.98 to 0.99 for ResNet-50 and VOLO-D2.
    """
    rows = tiling.rows // 2
    fits = 4 * words * panel_width(target) <= target.l1d_bytes
    if tiling.matrix or not fits or rows * tiling.vectors < CHAINS:
        return tiling
    return replace(tiling, rows=rows, short=True)


def tile_sums(
    e: Emitter,
    tiling: Tiling,
    strides: Strides,
    rows: int,
    operands: tuple[Ptr, Ptr],
    k: int,
    *,
    stretches: Stretches | None = None,
    early: Early | None = None,
    runs: tuple[int, int] = (0, 0),
) -> list[Vec]:
    """What `call_tile` would write to c, in registers, row by row."""
    tile = _tile(tiling, strides, rows, tiling.vectors, k, early, runs)
    a, b = (operand.cast(tiling.dot.word) for operand in operands)
    start = [e.constant(0, tiling.dot.sum)] * (rows * tiling.vectors)
    outer, outer_step, inner, inner_step = (stretches or Stretches()).arguments
    steps = e.int(outer), e.int(outer_step), e.int(inner), e.int(inner_step)
    return list(accumulate(e, tile, a, b, e.int(k), steps, start, early))


def _tile(
    tiling: Tiling, strides: Strides, rows: int, vectors: int, k: int | Int, early: Early | None, runs: tuple[int, int]
) -> Tile:
    """The tile that serves; rows of a come in runs where there are more than one of them."""
    shape = rows, vectors, strides.a, strides.b, strides.c
    return Tile(tiling.dot, *shape, turn_of(k), early is not None, *(runs if rows > runs[0] > 0 else (0, 0)))


def call_tile(
    e: Emitter,
    tiling: Tiling,
    strides: Strides,
    rows: int,
    operands: tuple[Ptr, Ptr, Ptr],
    k: int | Int,
    *,
    vectors: int = 0,
    stretches: Stretches | None = None,
    early: Early | None = None,
    runs: tuple[int, int] = (0, 0),
    onward: bool = False,
) -> None:
    """c[rows, vectors] = a @ b over stretches of k words; as many vectors as the tiling has, unless fewer are given.

    `runs` are a tile's `run` and `jump`; with `onward`, which tiles of matrix registers lack, the sums go on from c.
    """
    stretches = stretches or Stretches()
    tile = replace(_tile(tiling, strides, rows, vectors or tiling.vectors, k, early, runs), onward=onward)
    more = () if early is None else (early.ahead, early.pace)
    if tiling.matrix:
        assert isinstance(k, int), "tiles of matrix registers have their k in the code"
        e.call(emit_matrix_tile(e.code, tile, k, stretches), *operands, *more)
    else:
        e.call(emit_tile(e.code, tile), *operands, k, *stretches.arguments, *more)


def for_tiles(
    e: Emitter, tiling: Tiling, first: Int, last: Int, total: Dim, tile: Callable[[int, Int, Int], None]
) -> None:
    """tile(rows, row, valid) for rows first..last: full tiles, then smaller ones.

    `total` is last - first, give or take whole tiles: it says what can be left over.  The last tile in matrix registers
    has `rows` of which only `valid` count; all others are exact.
    """
    full = tiling.rows
    row = first + (last - first) // full * full
    with e.loop(row, start=first, step=full) as loop:
        tile(full, loop.index, e.int(full))
    rest = remainders(total, full)
    if tiling.matrix:
        for rows in (TILE_ROWS, full):
            least = rows - TILE_ROWS + 1
            if any(least <= left <= rows for left in rest):
                left = last - row
                with e.when((left >= least) & (left < rows + 1)):
                    tile(rows, row, left)
    elif len(rest) <= MOST_TAILS:
        for count in rest:
            with e.when(e.compare("==", last - row, count)):
                tile(count, row, e.int(count))
    else:
        for count in (size for size in TAILS if size < full):
            left = last - row
            with e.when(left >= count):
                tile(count, row, e.int(count))
            row = row + left // count * count if 2 * count > full else row + left % (2 * count) // count * count
