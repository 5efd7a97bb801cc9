"""Interpolate: weighted sums of rows that indices name, a block of columns at a time."""

from __future__ import annotations

from alula.codegen.expression import Expression
from alula.codegen.groups import Group
from alula.codegen.lower.builder import narrow, narrowing
from alula.codegen.lower.gather import Rows, from_front, nearest, rows_of_op
from alula.codegen.lower.reduce import COLUMNS, column_blocks
from alula.codegen.lower.sharing import chunks, rows_a_chunk, rows_of
from alula.codegen.lowering import Chunk, Count, Lowering, lowers
from alula.core.dims import Dim
from alula.ir.types import fixed
from alula.ops.gather import Interpolate


@lowers(Interpolate)
def lower_interpolate(state: Lowering, group: Group) -> None:
    """Each element is one chain of fused multiply-adds, in the order of its terms."""
    node = group.anchor
    (x, indices, weights), op = node.inputs, node.op
    assert isinstance(op, Interpolate)
    terms = fixed(indices.type.shape[-1], "number of terms")
    rows = rows_of_op(op, x.type, indices.type.reshaped(*indices.type.shape[:-1]))
    whole_rows = op.axis == x.type.rank - 2
    output = state.output_rows(group.output) if whole_rows else state.output(group.output)
    spacing = (output.rows() or (1, rows.columns))[1] if whole_rows else rows.columns
    builder = narrowing(state, group)
    narrowed = builder.expression(())
    views = [*map(state.contiguous, (x, indices, weights)), output]
    width = min(COLUMNS, rows.columns) if isinstance(rows.columns, int) else COLUMNS
    block = rows_a_chunk(width * terms)

    def body(chunk: Chunk) -> None:
        emit_interpolated(chunk, rows, terms, block, spacing, narrowed)

    kernel = state.kernel("interpolate", (rows, terms, spacing, narrowed), views, body, len(builder.parameters))
    blocks = column_blocks(rows.columns)
    label = "+".join(node.op.name for node in group.nodes)
    count: Count = lambda e: chunks(e, rows.total, block) * e.dim(blocks)  # noqa: E731
    state.step(kernel, views, output, count, label, parameters=builder.parameters)


def emit_interpolated(chunk: Chunk, rows: Rows, terms: int, block: int, spacing: Dim, narrowed: Expression) -> None:
    """A chunk: some rows of one block of columns; rows of the result begin `spacing` elements apart."""
    e, (source, places, factors, target) = chunk.e, chunk.operands
    blocks, columns, size = e.dim(column_blocks(rows.columns)), e.dim(rows.columns), e.dim(rows.size)
    first = chunk.number % blocks * COLUMNS
    width = rows.columns if isinstance(rows.columns, int) else COLUMNS
    spots = [v * e.lanes for v in range(-(-min(COLUMNS, width) // e.lanes))]
    whole = isinstance(rows.columns, int) and rows.columns % (len(spots) * e.lanes) == 0
    masks = [None if whole else e.mask((columns - first - spot).max(0)) for spot in spots]
    with rows_of(Chunk(e, chunk.operands, chunk.number // blocks, chunk.scratch), rows.total, block) as row:
        around, number = rows.places(e, row)
        with e.loop(terms, [e.constant(0.0)] * len(spots)) as loop:
            term = number * terms + loop.index
            index = nearest(e, from_front(e, places, term, size), size)
            taken, factor = source.at((around * size + index) * columns + first), e.splat(factors, term)
            vectors = [e.load(taken, spot, mask) for spot, mask in zip(spots, masks, strict=True)]
            loop.carry([e.fma(vector, factor, total) for vector, total in zip(vectors, loop.carried, strict=True)])
        for spot, mask, total in zip(spots, masks, loop.carried, strict=True):
            e.store(narrow(e, narrowed, total), target.at(row * e.dim(spacing)), first + spot, mask)
