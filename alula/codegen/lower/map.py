"""Elementwise nodes without an anchor, and every copy: one kernel over rows and columns of any strides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from llvmlite import ir

from alula.codegen.expression import Expression, Operand, Term
from alula.codegen.groups import Group
from alula.codegen.kernels import logic, trigonometry  # noqa: F401  their rules
from alula.codegen.kernels.elementwise import RULES, as_f32
from alula.codegen.kernels.native import NATIVE, emit_native, is_native
from alula.codegen.lower.builder import Builder, operand
from alula.codegen.lower.planes import emit_planes, find_planes
from alula.codegen.lower.sharing import CHUNK_WORK, chunks, rows_a_chunk, rows_of
from alula.codegen.lower.transpose import find_turn, turn_step
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.vector import Emitter, Int, Ptr, Vec
from alula.codegen.views import View, bits_of, collapse
from alula.core.dims import Dim, known_multiple, product
from alula.core.errors import CodegenError
from alula.ops.logic import Where

CHUNK_ELEMENTS = CHUNK_WORK // 2  # each is read and written


@lowers(*RULES, *NATIVE)
def lower_map(state: Lowering, group: Group) -> None:
    """A chain of elementwise nodes, computed vector by vector without storing what lies between."""
    if is_native(group.anchor):
        lower_native(state, group)
        return
    builder = Builder(state)
    builder.nodes(group.nodes)
    output = state.output_rows(group.output)
    label = "+".join(node.op.name for node in group.nodes)
    map_step(state, builder.numbered(), builder.views, output, label, builder.parameters)


def lower_native(state: Lowering, group: Group) -> None:
    """One node whose elements are computed with as they are stored."""
    node = group.anchor
    views, output = [state.view(value) for value in node.inputs], state.output(group.output)
    if isinstance(node.op, Where):
        views = [views[0], *map(as_bits, views[1:])]
        output = as_bits(output)
    terms = (Term(node.op, tuple(range(len(views)))),)
    map_step(state, terms, views, output, node.op.name, native=True)


def as_bits(view: View) -> View:
    """The same elements as unsigned integers: as what they are moved when nothing is computed with them."""
    return replace(view, type=view.type.cast(bits_of(view.dtype)))


def copy_step(state: Lowering, source: View, target: View) -> None:
    """The elements of one view, in another one of the same dtype."""
    if source.dtype is not target.dtype:
        raise CodegenError(f"copy: expected {target.dtype}, got {source.dtype}")
    if turn := find_turn(source, target, state.target.lanes()):
        turn_step(state, turn, source, target)
        return
    map_step(state, (), [as_bits(source)], as_bits(target), "copy")


def map_step(
    state: Lowering,
    terms: tuple[Term, ...],
    views: Sequence[View],
    output: View,
    label: str,
    parameters: Sequence[float] = (),
    *,
    native: bool = False,
) -> None:
    """One step that writes terms of the views' elements to `output`; `native`: one term, of elements as stored."""
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
    if not native and (planes := find_planes(shape, steps, written, expression.operands)):
        planar = state.kernel(
            "planes", (expression, planes), flat, lambda chunk: emit_planes(chunk, planes, expression), len(parameters)
        )
        state.step(planar, flat, output, planes.count, label, parameters=parameters)
        return

    def body(chunk: Chunk) -> None:
        emit_map(chunk, expression, written, rows, columns, native=native)

    kernel = state.kernel("map", (expression, written, rows, columns, native), flat, body, len(parameters))
    state.step(kernel, flat, output, lambda e: _chunks(e, rows, columns), label, parameters=parameters)


def _chunks(e: Emitter, rows: Dim, columns: Dim) -> Int:
    if rows == 1:
        return chunks(e, columns, CHUNK_ELEMENTS)
    return chunks(e, rows, rows_a_chunk(columns * 2))


def emit_map(
    chunk: Chunk, expression: Expression, written: Operand, rows: Dim, columns: Dim, *, native: bool = False
) -> None:
    """One chunk: so many rows, or a stretch of the only row."""
    e = chunk.e
    if rows == 1:
        first = chunk.number * CHUNK_ELEMENTS
        stop = (first + CHUNK_ELEMENTS).min(e.dim(columns))
        emit_row(e, chunk.operands, expression, written, e.int(0), first, stop, native=native)
        return
    with rows_of(chunk, rows, rows_a_chunk(columns * 2)) as row:
        emit_row(e, chunk.operands, expression, written, row, e.int(0), e.dim(columns), columns, native=native)


def emit_row(
    e: Emitter,
    pointers: list[Ptr],
    expression: Expression,
    written: Operand,
    row: Int,
    start: Int,
    stop: Int,
    columns: Dim = 1,
    *,
    native: bool = False,
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

        if native:
            used, op = expression.operands, expression.terms[0].op
            return emit_native(e, op, used[-1].dtype, [o.load(e, bases[n], column, mask) for n, o in enumerate(used)])
        return expression.emit(e, [], load)

    with e.loop(whole, start=start, step=e.lanes) as loop:
        e.store(vector(loop.index), target, loop.index)
    if known_multiple(columns, e.lanes):
        return
    with e.when(whole < stop):
        mask = e.mask(stop - whole)
        e.store(vector(whole, mask), target, whole, mask)
