"""Rows by 16 virtual lanes: the same partial results in the same order, however wide the vectors are."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from llvmlite import ir

from alula.codegen.vector import Emitter, Int, Vec
from alula.core.dims import Dim, known_multiple

VIRTUAL_LANES = 16

Mask = ir.Value | None  # None: every lane
Step = Callable[[Int, Mask, Vec], Vec]


def lane_parts(e: Emitter, start: float) -> list[Vec]:
    """16 lanes of the same number, in as many vectors as they take."""
    return [e.constant(start)] * (VIRTUAL_LANES // e.lanes)


def fold_row(e: Emitter, length: Dim, parts: Sequence[Vec], step: Step) -> list[Vec]:
    """`step(column, mask, part)` for every vector of the row, each lane taking every 16th column of 0..length."""
    size = e.dim(length)
    whole = size // VIRTUAL_LANES * VIRTUAL_LANES
    with e.loop(whole, parts, step=VIRTUAL_LANES) as loop:
        columns = [loop.index + number * e.lanes for number in range(len(parts))]
        loop.carry([step(column, None, part) for column, part in zip(columns, loop.carried, strict=True)])
    if known_multiple(length, VIRTUAL_LANES):
        return loop.carried
    with e.loop(size, loop.carried, start=whole, step=VIRTUAL_LANES) as rest:  # one turn, or none
        columns = [rest.index + number * e.lanes for number in range(len(parts))]
        rest.carry(
            [step(column, e.mask(size - column), part) for column, part in zip(columns, rest.carried, strict=True)]
        )
    return rest.carried


def map_row(e: Emitter, length: Dim, body: Callable[[Int, Mask], None]) -> None:
    """`body(column, mask)` for every vector of the row, a masked one last."""
    size = e.dim(length)
    whole = size // e.lanes * e.lanes
    with e.loop(whole, step=e.lanes) as loop:
        body(loop.index, None)
    if known_multiple(length, e.lanes):
        return
    with e.when(whole < size):
        body(whole, e.mask(size - whole))
