"""Scatter: a copy, into which the updates are written or combined one after the other."""

from __future__ import annotations

from dataclasses import replace

from alula.codegen.groups import Group
from alula.codegen.kernels.elementwise import emit_op
from alula.codegen.kernels.native import emit_native
from alula.codegen.lower.gather import Rows, from_front, rows_of_op
from alula.codegen.lower.reduce import COLUMNS, column_blocks
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.vector import Emitter, Vec
from alula.codegen.views import bits_of
from alula.core.dtype import DType
from alula.ir.op import Op
from alula.ops.elementwise import Add, Maximum, Minimum, Mul
from alula.ops.gather import Scatter

COMBINE: dict[str, Op] = {"add": Add(), "mul": Mul(), "max": Maximum(), "min": Minimum()}


@lowers(Scatter)
def lower_scatter(state: Lowering, group: Group) -> None:
    """A chunk is one block of columns at one place of the axes before, and takes all updates in order."""
    node = group.anchor
    (x, indices, updates), op = node.inputs, node.op
    assert isinstance(op, Scatter)
    rows, output = rows_of_op(op, x.type, indices.type), state.output(group.output)
    state.copy(state.view(x), output)
    views = [state.contiguous(indices), state.contiguous(updates), output]
    if op.reduction == "none":
        views[1:] = (replace(view, type=view.type.cast(bits_of(view.dtype))) for view in views[1:])

    def body(chunk: Chunk) -> None:
        emit_scattered(chunk, rows, op.reduction)

    kernel = state.kernel("scatter", (rows, op.reduction), views, body)
    blocks = rows.batch * rows.outer * column_blocks(rows.columns)
    state.step(kernel, views, output, lambda e: e.dim(blocks), "scatter")


def emit_scattered(chunk: Chunk, rows: Rows, reduction: str) -> None:
    """All updates of one block of columns."""
    e, (places, source, target) = chunk.e, chunk.operands
    blocks, columns = e.dim(column_blocks(rows.columns)), e.dim(rows.columns)
    size, count = e.dim(rows.size), e.dim(rows.count)
    first, around = chunk.number % blocks * COLUMNS, chunk.number // blocks
    numbers = around // e.dim(rows.outer) * count
    stop = (first + COLUMNS).min(columns)
    with e.loop(count) as update:
        index = from_front(e, places, numbers + update.index, size)
        with e.when((index >= 0) & (index < size)):
            taken = source.at((around * count + update.index) * columns)
            written = target.at((around * size + index) * columns)
            with e.loop(stop, start=first, step=e.lanes) as loop:
                mask = e.mask(stop - loop.index)
                vector = e.load(taken, loop.index, mask)
                if reduction != "none":
                    vector = combined(e, COMBINE[reduction], e.load(written, loop.index, mask), vector, source.dtype)
                e.store(vector, written, loop.index, mask)


def combined(e: Emitter, op: Op, old: Vec, new: Vec, dtype: DType) -> Vec:
    """Elements with their updates."""
    return emit_op(e, op, (old, new)) if dtype is DType.F32 else emit_native(e, op, dtype, (old, new))
