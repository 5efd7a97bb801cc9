"""What row kernels share: a row in 16 virtual lanes, so that sums are the same bits on every target."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from llvmlite import ir

from alula.codegen.kernels import math
from alula.codegen.kernels.dot import DOT_F32, Dot
from alula.codegen.vector import Emitter, Int, Ptr, Vec

VIRTUAL_LANES = 16
MOST_UNROLLED = 4  # sixteens of columns
ROWS_SIDE_BY_SIDE = 4
COLUMNS_AT_ONCE = 2  # vectors of them


@dataclass(frozen=True, slots=True)
class Piece:
    """Columns from `column`, sixteen or a multiple (fewer at the end of a row): a vector and mask for each part."""

    column: Int
    masks: tuple[ir.Value | None, ...]


def parts(e: Emitter) -> int:
    """Vectors that hold the virtual lanes."""
    return VIRTUAL_LANES // e.lanes


@contextmanager
def groups_of_rows(e: Emitter, stop: Int | int, first: Int | int = 0) -> Iterator[list[Int]]:
    """The block runs for `chains` rows of first..stop at a time; where there are fewer, the last comes again."""
    several, last = e.target.chains, e.int(stop) - 1
    with e.loop(stop, start=first, step=several) as loop:
        yield [loop.index, *((loop.index + n).min(last) for n in range(1, several))]


def of_each(vectors: Sequence[Vec], rows: int) -> list[list[Vec]]:
    """What lies row after row, each with as many vectors."""
    size = len(vectors) // rows
    return [list(vectors[start : start + size]) for start in range(0, len(vectors), size)]


def joined(e: Emitter, vectors: Sequence[Vec], rows: int, combine: Callable[[Vec, Vec], Vec]) -> Vec:
    """What lies row after row, as many vectors of each, with every row's lanes combined: numbers for `each_row`."""
    return math.tree_of_rows(e, of_each(vectors, rows), combine)


def each_row(e: Emitter, numbers: Vec, rows: int) -> list[Vec]:
    """Each row's number in every lane."""
    return [e.shuffle(numbers, numbers, [row * (e.lanes // rows)] * e.lanes) for row in range(rows)]


def fold_row(
    e: Emitter,
    count: int,
    seeds: Sequence[Vec],
    step: Callable[[Piece, Sequence[Vec]], Sequence[Vec]],
    widest: int = VIRTUAL_LANES,
) -> list[Vec]:
    """`seeds` (one vector a part) carried through `step` over all pieces of a row of `count` columns.

    Pieces have `widest` columns while there are as many, then sixteen.  Of few, each has code of its own: what one fold
    loaded the next one finds in registers.
    """
    carried, whole = list(seeds), 0
    for width in dict.fromkeys((widest, VIRTUAL_LANES)):
        start, whole = whole, count // width * width
        if whole <= MOST_UNROLLED * VIRTUAL_LANES:
            for column in range(start, whole, width):
                carried = list(step(Piece(e.int(column), (None,) * (width // e.lanes)), carried))
        elif whole > start:
            with e.loop(whole, carried=carried, start=start, step=width) as loop:
                loop.carry(step(Piece(loop.index, (None,) * (width // e.lanes)), loop.carried))
            carried = loop.carried
    if count > whole:
        masks = tuple(e.mask(max(0, count - whole - part * e.lanes)) for part in range(parts(e)))
        carried = list(step(Piece(e.int(whole), masks), carried))
    return carried


def load_parts(e: Emitter, row: Ptr, piece: Piece) -> list[Vec]:
    """The piece's vectors; lanes beyond the row are zero."""
    return [e.load(row, piece.column + n * e.lanes, mask) for n, mask in enumerate(piece.masks)]


def load_rows(e: Emitter, rows: Sequence[Ptr], piece: Piece) -> list[list[Vec]]:
    """The piece's vectors of each row."""
    return [load_parts(e, row, piece) for row in rows]


def store_parts(e: Emitter, values: Sequence[Vec], row: Ptr, piece: Piece) -> None:
    """The piece's vectors to a row; lanes beyond it are not written."""
    for n, (value, mask) in enumerate(zip(values, piece.masks, strict=True)):
        e.store(value, row, piece.column + n * e.lanes, mask)


def inside(e: Emitter, values: Sequence[Vec], piece: Piece, beyond: float) -> list[Vec]:
    """The vectors with `beyond` in lanes that are not of the row."""
    return [
        value if mask is None else e.blend(mask, value, beyond) for value, mask in zip(values, piece.masks, strict=True)
    ]


def fold_columns(
    e: Emitter,
    rows: int,
    count: int,
    seed: float,
    step: Callable[[Int, int, ir.Value | None, Vec], Vec],
    join: Callable[[Vec, Vec], Vec],
) -> list[Vec]:
    """What `step(row, column, mask, so far)` makes of all rows, from `seed` on, for each vector of `columns`.

    Four rows go side by side, each with a result of its own, and these are joined: the same on every target.
    """
    places = list(columns(e, count))
    some = (places[first : first + COLUMNS_AT_ONCE] for first in range(0, len(places), COLUMNS_AT_ONCE))
    return [result for few in some for result in _fold_few(e, rows, few, seed, step, join)]


def _fold_few(
    e: Emitter,
    rows: int,
    places: Sequence[tuple[int, ir.Value | None]],
    seed: float,
    step: Callable[[Int, int, ir.Value | None, Vec], Vec],
    join: Callable[[Vec, Vec], Vec],
) -> list[Vec]:
    """`fold_columns` of as many places as have registers for their results."""
    side = range(ROWS_SIDE_BY_SIDE)
    whole = rows // len(side) * len(side)
    with e.loop(whole, carried=[e.constant(seed)] * (len(side) * len(places)), step=len(side)) as loop:
        found = zip(((n, place) for n in side for place in places), loop.carried, strict=True)
        loop.carry([step(loop.index + n, *place, value) for (n, place), value in found])
    results = of_each(loop.carried, len(side))
    for n in range(rows - whole):
        results[n] = [step(e.int(whole + n), *place, value) for place, value in zip(places, results[n], strict=True)]
    first, second, third, fourth = results
    pairs = (zip(a, b, strict=True) for a, b in ((first, second), (third, fourth)))
    left, right = ([join(a, b) for a, b in pair] for pair in pairs)
    return [join(a, b) for a, b in zip(left, right, strict=True)]


def softmax_row(e: Emitter, source: Ptr, target: Ptr, count: int, scale: float) -> Vec:
    """target = exp(scale * (source - max)); returns 1 / their sum in every lane.  `scale` > 0; may work in place."""
    most = row_max(e, source, count)
    sums = weights_of_row(e, source, count, scale, most, lambda p, values: store_parts(e, values, target, p))
    return 1.0 / e.spread(math.tree_add(e, sums))


def row_max(e: Emitter, source: Ptr, count: int) -> Vec:
    """The largest element of a row, in every lane."""
    return largest_of(e, count, lambda piece: inside(e, load_parts(e, source, piece), piece, float("-inf")))


def largest_of(e: Emitter, count: int, values: Callable[[Piece], Sequence[Vec]]) -> Vec:
    """The largest of what `values` makes of the pieces of a row, in every lane."""

    def larger(piece: Piece, most: Sequence[Vec]) -> list[Vec]:
        return [e.max(value, best) for value, best in zip(values(piece), most, strict=True)]

    return e.spread(math.tree_max(e, fold_row(e, count, [e.constant(float("-inf"))] * parts(e), larger)))


def weights_of_row(
    e: Emitter,
    source: Ptr,
    count: int,
    scale: float | Vec,
    most: Vec,
    store: Callable[[Piece, Sequence[Vec]], None],
    dot: Dot = DOT_F32,
    widest: int = VIRTUAL_LANES,
) -> list[Vec]:
    """Stores exp(scale * (source - most)); returns the sums of the virtual lanes.  `most` is the row's largest element.

    What is narrowed for a product of another kind than float32 need not be exact to the last place: there it is what
    `exp2_coarse` makes.  `store` gets pieces of `widest` columns, while there are as many.
    """
    power: Callable[[Emitter, Vec], Vec]
    seeds = [e.constant(0.0)] * parts(e)
    if dot is DOT_F32:
        power, factor = math.exp, scale
        shift = -(most * factor)
    else:
        power, factor = math.exp2_coarse, scale * (math.LOG2E * math.EXPONENT_STEP)
        shift = -(most * factor)
        shift = e.fma(e.unary("fabs", shift), -(2.0**-23), shift)  # so that none is more than the unit by rounding
        seeds[0] = most * 0.0  # NaN, where the powers of NaN are not

    def powers(piece: Piece, sums: Sequence[Vec]) -> list[Vec]:
        results = [power(e, e.fma(value, factor, shift)) for value in load_parts(e, source, piece)]
        store(piece, results)
        totals = list(sums)
        for n, value in enumerate(inside(e, results, piece, 0.0)):
            totals[n % len(totals)] += value
        return totals

    return fold_row(e, count, seeds, powers, widest)


def scale_row(e: Emitter, row: Ptr, count: int, factor: Vec) -> None:
    """row[count] *= factor."""

    def scaled(piece: Piece, nothing: Sequence[Vec]) -> list[Vec]:
        store_parts(e, [value * factor for value in load_parts(e, row, piece)], row, piece)
        return []

    fold_row(e, count, [], scaled)


def columns(e: Emitter, count: int) -> Iterator[tuple[int, ir.Value | None]]:
    """(first column, mask or None) of each vector of `count` columns, unrolled."""
    for column in range(0, count, e.lanes):
        yield column, e.mask(count - column) if count - column < e.lanes else None
