"""Softmax: rows by 16 virtual lanes; along another axis through a transposed copy."""

from __future__ import annotations

from alula.codegen.expression import Operand
from alula.codegen.groups import Group
from alula.codegen.kernels.math import exp, tree_add, tree_max
from alula.codegen.kernels.rows import Mask, fold_row, lane_parts, map_row
from alula.codegen.lower.builder import operand
from alula.codegen.lower.sharing import chunks, rows_a_chunk, rows_of
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.vector import Emitter, Int, Ptr, Vec
from alula.codegen.views import View
from alula.core.dims import Dim, product
from alula.ops.softmax import Softmax

LOWEST = float("-inf")


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
    rows, length = product(shape[:-1]), shape[-1]
    read, block = operand(source, shape), rows_a_chunk(length * 2)

    def body(chunk: Chunk) -> None:
        emit_softmax(chunk, read, rows, length, block)

    kernel = state.kernel("softmax", (read, rows, length), [source, target], body)
    state.step(kernel, [source, target], target, lambda e: chunks(e, rows, block), "softmax")


def emit_softmax(chunk: Chunk, read: Operand, rows: Dim, length: Dim, block: int) -> None:
    """A chunk's rows."""
    e, (source, target) = chunk.e, chunk.operands
    with rows_of(chunk, rows, block) as row:
        emit_softmax_row(e, source.at(read.row_offset(e, row)), target.at(row * e.dim(length)), length)


def emit_softmax_row(e: Emitter, x: Ptr, y: Ptr, length: Dim) -> None:
    """y = exp(x - max) / sum.  A NaN passes the maximum by and comes in with the powers."""

    def largest(column: Int, mask: Mask, so_far: Vec) -> Vec:
        vector = e.load(x, column, mask)
        return e.max(vector if mask is None else e.blend(mask, vector, LOWEST), so_far)

    def power(column: Int, mask: Mask, total: Vec) -> Vec:
        vector = exp(e, e.load(x, column, mask) - top)
        e.store(vector, y, column, mask)
        return total + (vector if mask is None else e.blend(mask, vector, 0.0))

    def scaled(column: Int, mask: Mask) -> None:
        e.store(e.load(y, column, mask) * scale, y, column, mask)

    top = e.spread(tree_max(e, fold_row(e, length, lane_parts(e, LOWEST), largest)))
    scale = 1.0 / e.spread(tree_add(e, fold_row(e, length, lane_parts(e, 0.0), power)))
    map_row(e, length, scaled)
