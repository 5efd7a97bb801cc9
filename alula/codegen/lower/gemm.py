"""Matrix products over packed weights: how rows and panels are shared out, and the epilogue on each register tile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from llvmlite import ir

from alula.codegen.expression import Expression, Operand
from alula.codegen.groups import Group
from alula.codegen.kernels.elementwise import as_f32
from alula.codegen.kernels.tile import Stretches, Tile, panel_width, tile_f32, tile_shape, turn_of
from alula.codegen.lower.builder import Builder
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.vector import Emitter, Int, Ptr, Vec
from alula.codegen.views import View
from alula.core.dims import known_multiple
from alula.core.dtype import DType
from alula.core.target import CpuTarget
from alula.ir.graph import Value
from alula.ir.types import fixed
from alula.ops.elementwise import Add
from alula.ops.matmul import Linear

TAILS = (8, 4, 2, 1)  # rows of the tiles that finish what whole tiles leave over


@dataclass(frozen=True, slots=True)
class Panels:
    """How the columns of a product are cut into panels of packed weights, and what is done with each sum.

    c has `ldc` columns a row; `n` of them belong to one group of `groups` (1 but for grouped convolutions).
    """

    n: int
    ldc: int
    panel: int
    epilogue: Expression

    @property
    def count(self) -> int:
        """Panels of one group."""
        return -(-self.n // self.panel)


@dataclass(frozen=True, slots=True)
class Gemm:
    """c[m,n] = epilogue(a[m,k] @ b[k,n]): everything about it that is fixed in the code.

    `block` rows are done with one panel of b before the next panel, so that a's rows stay in the second-level cache;
    `whole` says that rows are always a multiple of the tile's.
    """

    k: int
    lda: int
    block: int
    whole: bool
    panels: Panels


@lowers(Linear)
def lower_linear(state: Lowering, group: Group) -> None:
    """x[...,k] against a packed weight; bias and what follows run on the tile."""
    node = group.anchor
    x, weight, *bias = node.inputs
    source = state.with_rows(x)
    rows, lda = source.rows() or (1, 0)
    builder = epilogue(state, group, bias)
    output = state.output(group.output)
    shape = output.type.shape
    k, n = fixed(x.type.shape[-1], "inner size"), fixed(shape[-1], "feature count")
    panels = Panels(n, n, panel_width(state.target), builder.expression(shape))
    gemm = Gemm(k, lda, row_block(state.target, k), known_multiple(rows, tile_shape(state.target)[0]), panels)
    views = [source, state.contiguous(weight), output, *builder.views]
    widening_room(state, views[1], k)
    kernel = state.kernel("linear", (gemm, rows), views, lambda chunk: emit_gemm(chunk, gemm, chunk.e.dim(rows)))
    label = "+".join(["linear", *(other.op.name for other in group.nodes[1:])])
    macs = node.op.macs([value.type for value in node.inputs], [node.output.type])
    state.step(kernel, views, output, lambda e: blocks(e.dim(rows), gemm.block) * panels.count, label, macs)


def epilogue(state: Lowering, group: Group, bias: Sequence[Value]) -> Builder:
    """The anchor's bias and the nodes that follow it, seeded by the tile's sum."""
    builder = Builder(state, seeds=1)
    total = builder.seed(group.anchor.output)
    if bias:
        builder.known[group.anchor.output] = builder.term(Add(), total, builder.operand(bias[0]))
    builder.nodes(group.nodes[1:])
    return builder


def row_block(target: CpuTarget, k: int) -> int:
    """Rows of a that, k elements each, leave half of the second-level cache to the panels; a multiple of the tile."""
    rows = tile_shape(target)[0]
    return max(1, target.l2_bytes // 2 // (4 * max(k, 1)) // rows) * rows


def blocks(rows: Int, block: int) -> Int:
    """Into how many blocks rows are cut: the last one takes what is left over, so none is shorter than a tile."""
    return (rows // block).max(1)


def emit_gemm(chunk: Chunk, gemm: Gemm, rows: Int) -> None:
    """One chunk: a block of rows against one panel."""
    e, (a, b, c, *extra) = chunk.e, chunk.operands
    panels = gemm.panels
    block, panel = chunk.number // panels.count, chunk.number % panels.count
    first = block * gemm.block
    last = e.select(block + 1 < blocks(rows, gemm.block), first + gemm.block, rows)
    packed = b.at(panel * (gemm.k * panels.panel))
    weights = widened(chunk, packed, gemm.k * panels.panel)
    vectors = tile_shape(e.target)[1]
    room = e.stack(tile_shape(e.target)[0] * panels.panel)
    ahead, pace = packed.at(gemm.k * panels.panel), prefetch_pace(e, panels.panel, last - first)

    def tile(count: int, row: Int) -> None:
        function = tile_f32(
            e.code, Tile(count, vectors, gemm.lda, panels.panel, panels.panel, turn_of(gemm.k), early=True)
        )
        early = ahead.cast(DType.F32).at((row - first) // tile_shape(e.target)[0] * pace * gemm.k)
        e.call(function, a.at(row * gemm.lda), weights, room, gemm.k, *Stretches().arguments, early, pace)
        emit_epilogue(e, panels, count, row, panel * panels.panel, e.int(0), room, c, extra)

    for_tiles(e, first, last, tile, whole=gemm.whole)


def widened(chunk: Chunk, weights: Ptr, count: int) -> Ptr:
    """The weights as float32: where they lie, or from float16 into the thread's room, once for all rows of a chunk."""
    e = chunk.e
    if weights.dtype is DType.F32:
        return weights
    with e.loop(count, step=e.lanes) as loop:
        e.store(e.convert(e.load(weights, loop.index), "fpext", DType.F32), chunk.scratch, loop.index)
    return chunk.scratch


def widening_room(state: Lowering, weight: View, k: int) -> None:
    """Makes room for `widened` weights of one panel."""
    if weight.dtype is not DType.F32:
        state.scratch(k * panel_width(state.target))


def prefetch_pace(e: Emitter, panel: int, rows: Int) -> Int:
    """Elements of the next panel to ask for with each k, so that the tiles of all rows together ask for all of it."""
    tiles = (rows + (tile_shape(e.target)[0] - 1)) // tile_shape(e.target)[0]
    return e.int(panel) // tiles.max(1) + 1


def for_tiles(e: Emitter, first: Int, last: Int, tile: Callable[[int, Int], None], *, whole: bool) -> None:
    """tile(rows, row) for rows first..last: full tiles, then tiles of 8, 4, 2 and 1 unless all are `whole`."""
    full = tile_shape(e.target)[0]
    row = first + (last - first) // full * full
    with e.loop(row, start=first, step=full) as loop:
        tile(full, loop.index)
    for count in (size for size in TAILS if size < full and not whole):
        left = last - row
        with e.when(left >= count):
            tile(count, row)
        row = row + left // count * count if 2 * count > full else row + left % (2 * count) // count * count


def emit_epilogue(
    e: Emitter, panels: Panels, rows: int, first: Int, column: Int, group: Int, room: Ptr, c: Ptr, extra: list[Ptr]
) -> None:
    """The tile's sums, through the epilogue, to rows from `first` of c, columns from `column` of the group."""
    ragged = panels.n % panels.panel != 0
    operands = panels.epilogue.operands
    with e.loop(rows) as loop:
        row = first + loop.index
        bases = [p.at(o.row_offset(e, row)) for p, o in zip(extra, operands, strict=True)]
        for offset in range(0, panels.panel, e.lanes):
            mask = e.mask((e.int(panels.n) - column - offset).max(0)) if ragged else None
            place = group * panels.n + column + offset
            total = e.load(room, loop.index * panels.panel + offset)
            value = panels.epilogue.emit(e, [total], loader(e, operands, bases, place, mask))
            e.store(value, c, row * panels.ldc + place, mask)


def loader(
    e: Emitter, operands: Sequence[Operand], bases: Sequence[Ptr], column: Int, mask: ir.Value | None
) -> Callable[[int], Vec]:
    """What an expression reads operands with: operand n from `column` on, as float32."""
    return lambda n: as_f32(e, operands[n].load(e, bases[n], column, mask), operands[n].dtype)
