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


def fold_row(
    e: Emitter,
    count: int,
    seeds: Sequence[Vec],
    step: Callable[[Piece, Sequence[Vec]], Sequence[Vec]],
    widest: int = VIRTUAL_LANES,
) -> list[Vec]:
    """`seeds` (one vector a part) carried through `step` over all pieces of a row of `count` columns.

    Pieces have `widest` columns while there are as many, then sixteen.
    """
    carried, whole = list(seeds), 0
    for width in dict.fromkeys((widest, VIRTUAL_LANES)):
        start, whole = whole, count // width * width
        if whole > start:
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


def softmax_row(e: Emitter, source: Ptr, target: Ptr, count: int, scale: float) -> Vec:
    """target = exp(scale * (source - max)); returns 1 / their sum in every lane.  `scale` > 0; may work in place."""
    most = row_max(e, source, count)
    return 1.0 / weights_of_row(e, source, count, scale, most, lambda p, values: store_parts(e, values, target, p))


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
) -> Vec:
    """Stores exp(scale * (source - most)); returns their sum in every lane.  `most` is the row's largest element.

    What is narrowed for a product of another kind than float32 need not be exact to the last place.  `store` gets
    pieces of `widest` columns, while there are as many.
    """
    exact = dot is DOT_F32
    factor = scale if exact else scale * math.LOG2E
    shift = -(most * factor)

    def powers(piece: Piece, sums: Sequence[Vec]) -> list[Vec]:
        exponents = [e.fma(value, factor, shift) for value in load_parts(e, source, piece)]
        results = [math.exp(e, x) if exact else math.exp2_coarse(e, x) for x in exponents]
        store(piece, results)
        totals = list(sums)
        for n, value in enumerate(inside(e, results, piece, 0.0)):
            totals[n % len(totals)] += value
        return totals

    sums = fold_row(e, count, [e.constant(0.0)] * parts(e), powers, widest)
    return e.spread(math.tree_add(e, sums))


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
