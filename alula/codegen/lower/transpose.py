"""Copies between layouts whose contiguous axes differ: blocks turned in registers, not one element at a time."""

from __future__ import annotations

from dataclasses import dataclass, replace

from alula.codegen.expression import Operand
from alula.codegen.kernels.transpose import emit_transpose
from alula.codegen.lower.planes import MOST_CHANNELS
from alula.codegen.lower.sharing import CHUNK_WORK, chunks, rows_a_chunk
from alula.codegen.lowering import Chunk, Lowering
from alula.codegen.vector import Emitter, Int, Ptr
from alula.codegen.views import View, bits_of, collapse
from alula.core.dims import Dim, product
from alula.core.dtype import DType

LEAST_ROWS = 4  # fewer than that fill too little of a vector
LEAST_COLUMNS = MOST_CHANNELS + 1  # fewer are read plane by plane
NARROWEST = 64  # columns of a chunk: four cache lines are written in each row


@dataclass(frozen=True, slots=True)
class Turn:
    """target[outer,rows,columns] = source[outer,columns,rows]: the outer axes by operand, the others by their steps."""

    outer: Dim
    read: Operand
    written: Operand
    rows: int
    columns: int
    source_step: Dim  # from column to column
    target_step: Dim  # from row to row
    block: int  # rows of a chunk
    width: int  # columns of it


def find_turn(source: View, target: View, lanes: int) -> Turn | None:
    """The copy as a transpose; None where it is none, or of other elements than 32-bit ones."""
    shape, steps = collapse(target.type.shape, target.strides, source.strides)
    if source.dtype.bytes != 4 or not shape or steps[-1][0] != 1 or steps[-1][1] in (0, 1):
        return None
    axis = next((n for n, (_, step) in enumerate(steps) if step == 1), None)
    if axis is None:
        return None
    rows, columns = shape[axis], shape[-1]
    if not isinstance(rows, int) or not isinstance(columns, int) or rows < LEAST_ROWS or columns < LEAST_COLUMNS:
        return None
    others = [n for n in range(len(shape) - 1) if n != axis]
    outer = tuple(shape[n] for n in others)
    written, read = (Operand(outer, tuple(steps[n][i] for n in others), 1, DType.U32) for i in (0, 1))
    width = max(1, CHUNK_WORK // 2 // rows // NARROWEST) * NARROWEST
    block = rows_a_chunk(min(columns, width), lanes)
    return Turn(product(outer), read, written, rows, columns, steps[-1][1], steps[axis][0], block, width)


def turn_step(state: Lowering, turn: Turn, source: View, target: View) -> None:
    """One step that copies."""
    views = [replace(view, type=view.type.cast(bits_of(view.dtype))) for view in (source, target)]
    down, across = -(-turn.rows // turn.block), -(-turn.columns // turn.width)
    kernel = state.kernel("transpose", turn, views, lambda chunk: emit_turn(chunk, turn, down, across))
    state.step(kernel, views, target, lambda e: chunks(e, turn.outer, 1) * (down * across), "transpose")


def emit_turn(chunk: Chunk, turn: Turn, down: int, across: int) -> None:
    """One chunk: a block of rows and columns of one matrix, of which there are `down` times `across`."""
    e, lanes = chunk.e, chunk.e.lanes
    outer, first = chunk.number // (down * across), chunk.number % down * turn.block
    start = chunk.number // down % across * turn.width
    source = chunk.operands[0].at(turn.read.row_offset(e, outer))
    target = chunk.operands[1].at(turn.written.row_offset(e, outer))
    whole = turn.rows // lanes * lanes
    with e.loop((first + turn.block).min(whole), start=first, step=lanes) as loop:
        _emit_strip(e, turn, source, target, loop.index, lanes, start)
    if turn.rows > whole:
        with e.when((first + turn.block) >= turn.rows):
            _emit_strip(e, turn, source, target, e.int(whole), turn.rows - whole, start)


def _emit_strip(e: Emitter, turn: Turn, source: Ptr, target: Ptr, row: Int, rows: int, start: Int) -> None:
    """So many rows from `row`, of the columns of a chunk from `start`."""
    source_step, target_step = e.dim(turn.source_step), e.dim(turn.target_step)
    first, line = source.at(row), target.at(row * target_step)
    whole = turn.columns // e.lanes * e.lanes
    with e.loop((start + turn.width).min(whole), start=start, step=e.lanes) as loop:
        column = loop.index
        emit_transpose(e, first.at(column * source_step), source_step, line.at(column), target_step, rows, e.lanes)
    if turn.columns > whole:
        with e.when((start + turn.width) >= turn.columns):
            left = turn.columns - whole
            emit_transpose(e, first.at(source_step * whole), source_step, line.at(whole), target_step, rows, left)
