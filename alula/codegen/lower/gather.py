"""Gather: a copy for each index, of what lies after the axis."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llvmlite import ir

from alula.codegen.groups import Group
from alula.codegen.lower.sharing import chunks, each_vector, rows_a_chunk, rows_of
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.module import I64
from alula.codegen.vector import Emitter, Int, Ptr
from alula.codegen.views import bits_of
from alula.core.dims import Dim, product
from alula.core.dtype import DType
from alula.ops.gather import Gather


@dataclass(frozen=True, slots=True)
class Rows:
    """x[outer,size,columns] at indices[count] -> [outer,count,columns]."""

    outer: Dim
    size: Dim
    count: Dim
    columns: Dim


@lowers(Gather)
def lower_gather(state: Lowering, group: Group) -> None:
    """One row of the result is one index at one place of the axes before it."""
    node = group.anchor
    (x, indices), op = node.inputs, node.op
    assert isinstance(op, Gather)
    shape, axis = x.type.shape, op.axis
    source, places, output = state.contiguous(x), state.contiguous(indices), state.output(group.output)
    rows = Rows(product(shape[:axis]), shape[axis], indices.type.elements, product(shape[axis + 1 :]))
    moved = [replace(view, type=view.type.cast(bits_of(view.dtype))) for view in (source, output)]
    views, block = [moved[0], places, moved[1]], rows_a_chunk(rows.columns)
    total = rows.outer * rows.count

    def body(chunk: Chunk) -> None:
        with rows_of(chunk, total, block) as row:
            emit_gathered(chunk.e, rows, chunk.operands, row)

    kernel = state.kernel("gather", rows, views, body)
    state.step(kernel, views, output, lambda e: chunks(e, total, block), "gather")


def emit_gathered(e: Emitter, rows: Rows, operands: list[Ptr], row: Int) -> None:
    """What one index names."""
    source, places, target = operands
    count, size, columns = e.dim(rows.count), e.dim(rows.size), e.dim(rows.columns)
    outer, place = row // count, row % count
    index = place_at(e, places, place, size)
    taken, written = source.at((outer * size + index) * columns), target.at(row * columns)

    def copied(spot: Int, mask: ir.Value | None) -> None:
        e.store(e.load(taken, spot, mask), written, spot, mask)

    each_vector(e, rows.columns, copied)


def place_at(e: Emitter, places: Ptr, number: Int, size: Int) -> Int:
    """An index within 0..size-1: below 0 it counts from the end, beyond either end it is that end."""
    value = e.scalar(places, number)
    index = Int(e, value if places.dtype is DType.I64 else e.b.sext(value, I64))
    from_start = e.select(index < 0, index + size, index)
    return from_start.max(0).min(size - 1)
