"""Reductions over any axes: lanes run along a kept axis, or 16 virtual ones along a reduced one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alula.codegen.expression import Operand
from alula.codegen.groups import Group, is_lazy
from alula.codegen.kernels.elementwise import as_f32, emit_op
from alula.codegen.kernels.math import tree
from alula.codegen.kernels.rows import Piece, fold_row, inside, load_parts, parts
from alula.codegen.lower.sharing import chunks, rows_a_chunk, rows_of
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.vector import Emitter, Ptr, Vec
from alula.codegen.views import View, collapse
from alula.core.dims import Dim, product
from alula.ir.op import Op
from alula.ir.types import fixed
from alula.ops.elementwise import Add, Maximum, Minimum
from alula.ops.reduce import ReduceMax, ReduceMean, ReduceMin, ReduceSum

COLUMNS = 64  # columns that go through the reduced axes together

COMBINE: dict[type[Op], tuple[Op, float]] = {
    ReduceSum: (Add(), 0.0),
    ReduceMean: (Add(), 0.0),
    ReduceMax: (Maximum(), float("-inf")),
    ReduceMin: (Minimum(), float("inf")),
}


@dataclass(frozen=True, slots=True)
class Reduce:
    """A reduction as its kernel knows it.

    Rows are the kept elements but those along the lanes; `sizes` and `strides` are the reduced axes but the lanes.
    """

    op: Op
    start: float
    divide: bool
    rows: Dim
    read: Operand
    sizes: tuple[Dim, ...]
    strides: tuple[Dim, ...]
    lanes: Dim

    @property
    def count(self) -> Dim:
        """Elements of the reduced axes outside the lanes."""
        return product(self.sizes)


@lowers(*COMBINE)
def lower_reduce(state: Lowering, group: Group) -> None:
    """x over `axes`: each element one chain in the order of x's axes, or 16 chains and the fixed tree."""
    node = group.anchor
    (x,), op = node.inputs, node.op
    x = x.producer.inputs[0] if x.producer is not None and is_lazy(state.graph, x.producer) else x
    source, output = state.view(x), state.output(group.output)
    if (found := lane_axis(source, op.axes)) is None:  # type: ignore[attr-defined]
        source = state.contiguous(x)
        found = lane_axis(source, op.axes)  # type: ignore[attr-defined]
    across = found is not None and found in op.axes  # type: ignore[attr-defined]
    plan = reduce_plan(op, source, op.axes, found)  # type: ignore[attr-defined]
    emit = emit_across if across else emit_along
    blocks = 1 if across else column_blocks(plan.lanes)
    width = plan.lanes if across else COLUMNS
    block = rows_a_chunk(plan.count * width)

    def body(chunk: Chunk) -> None:
        emit(chunk, plan, block)

    kernel = state.kernel("reduce", (plan, across), [source, output], body)
    state.step(kernel, [source, output], output, lambda e: chunks(e, plan.rows, block) * e.dim(blocks), node.op.name)


def lane_axis(view: View, axes: Sequence[int]) -> int | None:
    """The axis that vectors run along: the last kept one if it is contiguous, else a contiguous reduced one.

    None where there is neither; a rank of 0, or sizes of 1 alone, leave nothing to choose.
    """
    sized = [axis for axis, size in enumerate(view.type.shape) if size != 1]
    kept = [axis for axis in sized if axis not in axes]
    if kept and view.strides[kept[-1]] == 1:
        return kept[-1]
    return next((axis for axis in reversed(sized) if axis in axes and view.strides[axis] == 1), None)


def reduce_plan(op: Op, view: View, axes: Sequence[int], lane: int | None) -> Reduce:
    """The axes of a view, sorted into rows, reduced ones and the one along the lanes."""
    shape, strides = view.type.shape, view.strides
    kept = [axis for axis in range(len(shape)) if axis not in axes and axis != lane]
    reduced = [axis for axis in axes if axis != lane]
    sizes, steps = collapse([shape[axis] for axis in kept], [strides[axis] for axis in kept])
    inner_sizes, inner_steps = collapse([shape[axis] for axis in reduced], [strides[axis] for axis in reduced])
    combine, start = COMBINE[type(op)]
    return Reduce(
        combine,
        start,
        isinstance(op, ReduceMean),
        product(sizes),
        Operand(sizes, tuple(step for (step,) in steps), 1, view.dtype),
        inner_sizes,
        tuple(step for (step,) in inner_steps),
        1 if lane is None else shape[lane],
    )


def column_blocks(columns: Dim) -> Dim:
    """Into how many blocks of columns a row is cut."""
    return (columns + (COLUMNS - 1)) // COLUMNS


def emit_along(chunk: Chunk, plan: Reduce, block: int) -> None:
    """A chunk whose lanes are kept: some rows of one block of columns."""
    e, (source, target) = chunk.e, chunk.operands
    blocks, columns = e.dim(column_blocks(plan.lanes)), e.dim(plan.lanes)
    first = chunk.number % blocks * COLUMNS
    width = plan.lanes if isinstance(plan.lanes, int) else COLUMNS
    spots = [v * e.lanes for v in range(-(-min(COLUMNS, width) // e.lanes))]
    whole = isinstance(plan.lanes, int) and plan.lanes % (len(spots) * e.lanes) == 0
    masks = [None if whole else e.mask(columns - first - spot) for spot in spots]
    start = [e.constant(plan.start)] * len(spots)

    def step(at: Ptr, sums: list[Vec]) -> list[Vec]:
        vectors = [as_f32(e, e.load(at, spot, mask), plan.read.dtype) for spot, mask in zip(spots, masks, strict=True)]
        return [emit_op(e, plan.op, (total, vector)) for total, vector in zip(sums, vectors, strict=True)]

    with rows_of(Chunk(e, chunk.operands, chunk.number // blocks, chunk.scratch), plan.rows, block) as row:
        base = source.at(plan.read.row_offset(e, row)).at(first)
        sums = nest(e, plan.sizes, plan.strides, base, start, step)
        for spot, mask, total in zip(spots, masks, sums, strict=True):
            e.store(divided(e, plan, plan.count, total), target.at(row * columns), first + spot, mask)


def emit_across(chunk: Chunk, plan: Reduce, block: int) -> None:
    """A chunk whose lanes are reduced: some rows, each to one element."""
    e, (source, target) = chunk.e, chunk.operands

    def combine(total: Vec, vector: Vec) -> Vec:
        return emit_op(e, plan.op, (total, vector))

    def step(at: Ptr, sums: list[Vec]) -> list[Vec]:
        def more(piece: Piece, sums: Sequence[Vec]) -> list[Vec]:
            loaded = [as_f32(e, vector, plan.read.dtype) for vector in load_parts(e, at, piece)]
            vectors = inside(e, loaded, piece, plan.start)
            return [combine(total, vector) for total, vector in zip(sums, vectors, strict=True)]

        return fold_row(e, length, sums, more)

    length, start = fixed(plan.lanes, "size to reduce"), [e.constant(plan.start)] * parts(e)
    with rows_of(chunk, plan.rows, block) as row:
        base = source.at(plan.read.row_offset(e, row))
        sums = nest(e, plan.sizes, plan.strides, base, start, step)
        total = divided(e, plan, plan.count * length, e.spread(tree(e, sums, combine)))
        e.store(total, target, row, e.mask(1))


def divided(e: Emitter, plan: Reduce, count: Dim, total: Vec) -> Vec:
    """The sum, or the mean of `count` elements."""
    if not plan.divide:
        return total
    if isinstance(count, int):
        return total / float(count)
    return total / e.spread(e.b.sitofp(e.dim(count).value, e.type().element))


def nest(
    e: Emitter,
    sizes: Sequence[Dim],
    strides: Sequence[Dim],
    at: Ptr,
    sums: list[Vec],
    step: Callable[[Ptr, list[Vec]], list[Vec]],
) -> list[Vec]:
    """`step(address, sums)` for each element of a nest of loops, in order; what it gives back goes to the next one."""
    if not sizes:
        return step(at, sums)
    with e.loop(e.dim(sizes[0]), sums) as loop:
        inner = at.at(loop.index * e.dim(strides[0]))
        loop.carry(nest(e, sizes[1:], strides[1:], inner, loop.carried, step))
    return loop.carried
