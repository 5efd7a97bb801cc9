"""Softmax: rows by 16 virtual lanes; along another axis through a transposed copy."""

from __future__ import annotations

from alula.codegen.expression import Operand
from alula.codegen.groups import Group
from alula.codegen.kernels.rows import scale_row, softmax_row
from alula.codegen.lower.builder import operand
from alula.codegen.lower.sharing import chunks, rows_a_chunk, rows_of
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.views import View
from alula.core.dims import Dim, product
from alula.ir.types import fixed
from alula.ops.softmax import Softmax


@lowers(Softmax)
def lower_softmax(state: Lowering, group: Group) -> None:
    """x along `axis`; the row is read three times, from the first-level cache but for the first."""
    node = group.anchor
    (x,), op = node.inputs, node.op
    assert isinstance(op, Softmax)
    if op.axis == x.type.rank - 1:
        softmax_step(state, state.with_columns(x), state.output(group.output))
        return
    last = [*(axis for axis in range(x.type.rank) if axis != op.axis), op.axis]
    turned = state.view(x).permuted(last)
    if not turned.has_columns:
        copy = state.temporary(turned.type)
        state.copy(turned, copy)
        turned = copy
    result = state.temporary(turned.type)
    softmax_step(state, turned, result)
    state.copy(result.permuted([last.index(axis) for axis in range(x.type.rank)]), state.output(group.output))


def softmax_step(state: Lowering, source: View, target: View) -> None:
    """One step over the last axis of `source`."""
    shape = target.type.shape
    rows, length = product(shape[:-1]), fixed(shape[-1], "row length")
    read, block = operand(source, shape), rows_a_chunk(length * 2)

    def body(chunk: Chunk) -> None:
        emit_softmax(chunk, read, rows, length, block)

    kernel = state.kernel("softmax", (read, rows, length), [source, target], body)
    state.step(kernel, [source, target], target, lambda e: chunks(e, rows, block), "softmax")


def emit_softmax(chunk: Chunk, read: Operand, rows: Dim, length: int, block: int) -> None:
    """A chunk's rows."""
    e, (source, target) = chunk.e, chunk.operands
    with rows_of(chunk, rows, block) as row:
        result = target.at(row * length)
        scale_row(e, result, length, softmax_row(e, source.at(read.row_offset(e, row)), result, length, 1.0))
