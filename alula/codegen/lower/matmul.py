"""Products of two run-time matrices: a panel of b is packed into scratch, then the register tile goes over a's rows."""

from __future__ import annotations

from dataclasses import dataclass

from alula.codegen.expression import Operand
from alula.codegen.groups import Group
from alula.codegen.kernels.dot import DOT_F32
from alula.codegen.kernels.tile import panel_width
from alula.codegen.kernels.tiling import Strides, Tiling, call_tile, for_tiles, tiling_for
from alula.codegen.kernels.transpose import emit_transpose
from alula.codegen.lower.gemm import Panels, emit_epilogue, epilogue
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.vector import Emitter, Int, Ptr
from alula.codegen.views import View, collapse
from alula.core.dims import Dim, product
from alula.core.target import CpuTarget
from alula.ir.graph import Value
from alula.ir.types import fixed
from alula.ops.matmul import Matmul

CHUNK_MACS = 4_000_000
LEAST_TILES = 8  # of rows, which pay for packing the panel


@dataclass(frozen=True, slots=True)
class Product:
    """c[batch,m,n] = a[batch,m,k] @ b[batch,k,n]; `b_steps` are elements from row to row and column to column of b."""

    batch: Dim
    m: Dim
    k: int
    lda: int
    b_steps: tuple[int, int]
    a_batch: Operand
    b_batch: Operand
    block: int
    tiling: Tiling
    panels: Panels


@lowers(Matmul)
def lower_matmul(state: Lowering, group: Group) -> None:
    """Each chunk: one matrix of the batch, a block of a's rows, a panel of b's columns."""
    node = group.anchor
    a, b = node.inputs
    left, right = _rows(state, a), _steps(state, b)
    builder = epilogue(state, group, ())
    output = state.output(group.output)
    *outer, m, n = output.type.shape
    k, width = fixed(a.type.shape[-1], "inner size"), fixed(n, "column count")
    panel, tiling = panel_width(state.target), tiling_for(state.target, DOT_F32, k)
    plan = Product(
        product(outer),
        m,
        k,
        _int(left.strides[-2]),
        (_int(right.strides[-2]), _int(right.strides[-1])),
        _batch(left, tuple(outer)),
        _batch(right, tuple(outer)),
        rows_a_chunk(tiling, state.target, k),
        tiling,
        Panels(width, width, panel, builder.expression(output.type.shape)),
    )
    state.scratch(k * panel)
    views = [left, right, output, *builder.views]
    kernel = state.kernel("matmul", plan, views, lambda chunk: emit_product(chunk, plan), len(builder.parameters))
    label = "+".join(["matmul", *(other.op.name for other in group.nodes[1:])])
    macs = node.op.macs([value.type for value in node.inputs], [node.output.type])
    state.step(
        kernel,
        views,
        output,
        lambda e: e.dim(plan.batch) * blocks(e.dim(m), plan.block) * plan.panels.count,
        label,
        macs,
        parameters=builder.parameters,
    )


def rows_a_chunk(tiling: Tiling, target: CpuTarget, k: int) -> int:
    """Rows of a that are worth packing a panel for and stay in the second-level cache; a multiple of the tile."""
    rows = tiling.rows
    work = CHUNK_MACS // (max(k, 1) * panel_width(target)) // rows * rows
    fitting = target.l2_bytes // 2 // (tiling.dot.a.bytes * max(k, 1)) // rows * rows
    return max(LEAST_TILES * rows, min(work, fitting))


def blocks(rows: Int, block: int) -> Int:
    """Into how many blocks rows are cut: the last one takes what is left over, so none is shorter than a tile."""
    return (rows // block).max(1)


def _rows(state: Lowering, a: Value) -> View:
    """a with contiguous rows that are a fixed number of elements apart."""
    view = state.view(a)
    return view if view.has_columns and isinstance(view.strides[-2], int) else state.contiguous(a)


def _steps(state: Lowering, b: Value) -> View:
    """b with contiguous rows or contiguous columns, either a fixed number of elements apart."""
    view = state.view(b)
    fits = 1 in view.strides[-2:] and all(isinstance(stride, int) for stride in view.strides[-2:])
    return view if fits else state.contiguous(b)


def _batch(view: View, outer: tuple[Dim, ...]) -> Operand:
    """How a view's matrices follow the matrices of the product."""
    strides = view.broadcast((*outer, *view.type.shape[-2:])).strides[:-2]
    sizes, steps = collapse(outer, strides)
    return Operand(sizes, tuple(step for (step,) in steps), 1)


def _int(stride: Dim) -> int:
    return fixed(stride, "stride")


def emit_product(chunk: Chunk, plan: Product) -> None:
    """One chunk: packs its panel and runs the tiles."""
    e, (a, b, c, *extra), panels = chunk.e, chunk.operands, plan.panels
    m = e.dim(plan.m)
    count = blocks(m, plan.block)
    panel, rest = chunk.number % panels.count, chunk.number // panels.count
    block, batch = rest % count, rest // count
    first = block * plan.block
    last = e.select(block + 1 < count, first + plan.block, m)
    left, right = a.at(plan.a_batch.row_offset(e, batch)), b.at(plan.b_batch.row_offset(e, batch))
    emit_panel(e, plan, right, panel, chunk.scratch)
    width, tiling = panels.panel, plan.tiling
    room, strides = e.stack(tiling.rows * width), Strides(plan.lda, width, width)

    def tile(rows: int, row: Int, valid: Int) -> None:
        call_tile(e, tiling, strides, rows, (left.at(row * plan.lda), chunk.scratch, room), plan.k)
        emit_epilogue(e, panels, valid, batch * m + row, panel * width, e.int(0), room, c, extra)

    for_tiles(e, tiling, first, last, plan.m, tile)


def emit_panel(e: Emitter, plan: Product, b: Ptr, panel: Int, room: Ptr) -> None:
    """room[k,panel] = the panel's columns of b, zeros beyond the last one."""
    width, (row_step, column_step) = plan.panels.panel, plan.b_steps
    column, spots = panel * width, range(0, width, e.lanes)
    if column_step == 1:
        masks = [e.mask(e.int(plan.panels.n) - column - spot) for spot in spots]
        whole = plan.panels.n % width == 0
        with e.loop(plan.k) as loop:
            line = b.at(loop.index * row_step + column)
            for spot, mask in zip(spots, masks, strict=True):
                e.store(e.load(line, spot, None if whole else mask), room, loop.index * width + spot)
        return
    left, start = plan.panels.n % width, b.at(column * column_step)
    if left == 0:
        _emit_turned(e, plan, start, room, width)
        return
    with e.b.if_else((panel < plan.panels.n // width).value) as (full, ragged):
        with full:
            _emit_turned(e, plan, start, room, width)
        with ragged:
            _emit_turned(e, plan, start, room, left)


def _emit_turned(e: Emitter, plan: Product, b: Ptr, room: Ptr, columns: int) -> None:
    """The panel where b's columns are contiguous: blocks turned in registers."""
    width, step = plan.panels.panel, plan.b_steps[1]
    for spot in range(0, width, e.lanes):
        used = max(0, min(columns - spot, e.lanes))

        def block(row: Int, rows: int) -> None:
            source, target = b.at(row + spot * step), room.at(row * width + spot)  # noqa: B023
            emit_transpose(e, source, e.int(step), target, e.int(width), rows, used, padded=True)  # noqa: B023

        whole = plan.k // e.lanes * e.lanes
        with e.loop(whole, step=e.lanes) as loop:
            block(loop.index, e.lanes)
        if plan.k > whole:
            block(e.int(whole), plan.k - whole)
