"""Gather: a copy for each index, of what lies after the axis; what it shares with interpolation and scattering."""

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
from alula.ir.types import TensorType
from alula.ops.gather import Gather, Placed


@dataclass(frozen=True, slots=True)
class Rows:
    """x[batch,outer,size,columns] and y[batch,outer,count,columns], of which indices[batch,count] name rows."""

    batch: Dim
    outer: Dim
    size: Dim
    count: Dim
    columns: Dim

    @property
    def total(self) -> Dim:
        """Rows of y."""
        return self.batch * self.outer * self.count

    def places(self, e: Emitter, row: Int) -> tuple[Int, Int]:
        """For a row of y: which of x[batch * outer] it is of, and which of the indices[batch * count] names it."""
        count, around = e.dim(self.count), row // e.dim(self.count)
        return around, around // e.dim(self.outer) * count + row % count


def rows_of_op(op: Placed, x: TensorType, indices: TensorType, terms: int = 1) -> Rows:
    """The axes of an op's operands in their groups; `terms` indices belong to one row."""
    shape = x.shape
    count = product(indices.shape[op.batch :])
    return Rows(
        product(shape[: op.batch]),
        product(shape[op.batch : op.axis]),
        shape[op.axis],
        count if terms == 1 else count // terms,
        product(shape[op.axis + 1 :]),
    )


@lowers(Gather)
def lower_gather(state: Lowering, group: Group) -> None:
    """One row of the result is one index at one place of the axes before it."""
    node = group.anchor
    (x, indices), op = node.inputs, node.op
    assert isinstance(op, Gather)
    source, places, output = state.contiguous(x), state.contiguous(indices), state.output(group.output)
    rows = rows_of_op(op, x.type, indices.type)
    moved = [replace(view, type=view.type.cast(bits_of(view.dtype))) for view in (source, output)]
    views, block = [moved[0], places, moved[1]], rows_a_chunk(rows.columns)

    def body(chunk: Chunk) -> None:
        with rows_of(chunk, rows.total, block) as row:
            emit_gathered(chunk.e, rows, chunk.operands, row)

    kernel = state.kernel("gather", rows, views, body)
    state.step(kernel, views, output, lambda e: chunks(e, rows.total, block), "gather")


def emit_gathered(e: Emitter, rows: Rows, operands: list[Ptr], row: Int) -> None:
    """What one index names."""
    source, places, target = operands
    size, columns = e.dim(rows.size), e.dim(rows.columns)
    around, number = rows.places(e, row)
    index = nearest(e, from_front(e, places, number, size), size)
    taken, written = source.at((around * size + index) * columns), target.at(row * columns)

    def copied(spot: Int, mask: ir.Value | None) -> None:
        e.store(e.load(taken, spot, mask), written, spot, mask)

    each_vector(e, rows.columns, copied)


def from_front(e: Emitter, places: Ptr, number: Int, size: Int) -> Int:
    """An index as it counts from the front."""
    value = e.scalar(places, number)
    index = Int(e, value if places.dtype is DType.I64 else e.b.sext(value, I64))
    return e.select(index < 0, index + size, index)


def nearest(e: Emitter, index: Int, size: Int) -> Int:
    """The index, or the end of the axis that it lies beyond."""
    return index.max(0).min(size - 1)
