"""Elementwise nodes without an anchor, and every copy: one kernel over rows and columns of any strides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llvmlite import ir

from alula.codegen.expression import Expression, Operand, Term
from alula.codegen.groups import Group
from alula.codegen.kernels.elementwise import RULES, as_f32
from alula.codegen.lower.builder import Builder, operand
from alula.codegen.lower.sharing import CHUNK_WORK, chunks, rows_a_chunk, rows_of
from alula.codegen.lower.transpose import find_turn, turn_step
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.vector import Emitter, Int, Ptr, Vec
from alula.codegen.views import View, bits_of, collapse
from alula.core.dims import Dim, known_multiple, product
from alula.core.errors import CodegenError

CHUNK_ELEMENTS = CHUNK_WORK // 2  # each is read and written


@lowers(*RULES)
def lower_map(state: Lowering, group: Group) -> None:
    """A chain of elementwise nodes, computed vector by vector without storing what lies between."""
    builder = Builder(state)
    builder.nodes(group.nodes)
    output = state.output(group.output)
    label = "+".join(node.op.name for node in group.nodes)
    map_step(state, builder.numbered(), builder.views, output, label, builder.parameters)


def copy_step(state: Lowering, source: View, target: View) -> None:
    """The elements of one view, in another one of the same dtype."""
    if source.dtype is not target.dtype:
        raise CodegenError(f"copy: expected {target.dtype}, got {source.dtype}")
    if turn := find_turn(source, target, state.target.lanes()):
        turn_step(state, turn, source, target)
        return
    moved = [replace(view, type=view.type.cast(bits_of(view.dtype))) for view in (source, target)]
    map_step(state, (), moved[:1], moved[1], "copy")


def map_step(
    state: Lowering,
    terms: tuple[Term, ...],
    views: Sequence[View],
    output: View,
    label: str,
    parameters: Sequence[float] = (),
) -> None:
    """One step that writes terms of the views' elements to `output`."""
    wide = [view.broadcast(output.type.shape) for view in views]
    shape, steps = collapse(output.type.shape, output.strides, *(view.strides for view in wide))
    if not shape or steps[-1][0] != 1 or not all(isinstance(step, int) for step in steps[-1]):
        # No vectors here: rows of one element each.
        shape, steps = (*shape, 1), [*steps, (0,) * (1 + len(wide))]
    flat = [
        replace(view, type=view.type.reshaped(*shape), strides=tuple(step[n] for step in steps))
        for n, view in enumerate([output, *wide])
    ]
    expression = Expression(0, tuple(operand(view, shape) for view in flat[1:]), len(parameters), terms)
    written = replace(operand(flat[0], shape), column=1)
    rows, columns = product(shape[:-1]), shape[-1]

    def body(chunk: Chunk) -> None:
        emit_map(chunk, expression, written, rows, columns)

    kernel = state.kernel("map", (expression, written, rows, columns), flat, body, len(parameters))
    state.step(kernel, flat, output, lambda e: _chunks(e, rows, columns), label, parameters=parameters)


def _chunks(e: Emitter, rows: Dim, columns: Dim) -> Int:
    if rows == 1:
        return chunks(e, columns, CHUNK_ELEMENTS)
    return chunks(e, rows, rows_a_chunk(columns * 2))


def emit_map(chunk: Chunk, expression: Expression, written: Operand, rows: Dim, columns: Dim) -> None:
    """One chunk: so many rows, or a stretch of the only row."""
    e = chunk.e
    if rows == 1:
        first = chunk.number * CHUNK_ELEMENTS
        emit_row(e, chunk.operands, expression, written, e.int(0), first, (first + CHUNK_ELEMENTS).min(e.dim(columns)))
        return
    with rows_of(chunk, rows, rows_a_chunk(columns * 2)) as row:
        emit_row(e, chunk.operands, expression, written, row, e.int(0), e.dim(columns), columns)


def emit_row(
    e: Emitter,
    pointers: list[Ptr],
    expression: Expression,
    written: Operand,
    row: Int,
    start: Int,
    stop: Int,
    columns: Dim = 1,
) -> None:
    """Columns start..stop of one row, in whole vectors and then a masked one."""
    target = pointers[0].at(written.row_offset(e, row))
    bases = [p.at(o.row_offset(e, row)) for p, o in zip(pointers[1:], expression.operands, strict=True)]
    whole = start + (stop - start) // e.lanes * e.lanes

    def vector(column: Int, mask: ir.Value | None = None) -> Vec:
        def load(n: int) -> Vec:
            used = expression.operands[n]
            loaded = used.load(e, bases[n], column, mask)
            return as_f32(e, loaded, used.dtype) if expression.terms else loaded

        return expression.emit(e, [], load)

    with e.loop(whole, start=start, step=e.lanes) as loop:
        e.store(vector(loop.index), target, loop.index)
    if known_multiple(columns, e.lanes):
        return
    with e.when(whole < stop):
        mask = e.mask(stop - whole)
        e.store(vector(whole, mask), target, whole, mask)
