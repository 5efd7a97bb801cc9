"""Matrix products over packed weights: how rows and panels are shared out, and the epilogue on each register tile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from llvmlite import ir

from alula.codegen.expression import Expression, Operand
from alula.codegen.groups import Group
from alula.codegen.kernels.dot import dot_for
from alula.codegen.kernels.elementwise import as_f32
from alula.codegen.kernels.rows import of_each
from alula.codegen.kernels.tile import Early, panel_width
from alula.codegen.kernels.tiling import Strides, Tiling, call_tile, for_tiles, shorter, tile_sums, tiling_for
from alula.codegen.lower.builder import Builder
from alula.codegen.lowering import Chunk, Count, Lowering, lowers
from alula.codegen.vector import Cond, Emitter, Int, Ptr, Vec
from alula.codegen.views import View
from alula.core.dims import Dim
from alula.core.dtype import DType
from alula.core.target import CpuTarget
from alula.ir.graph import Value
from alula.ir.types import fixed
from alula.ops.attention import Attention
from alula.ops.elementwise import Add
from alula.ops.matmul import Linear
from alula.ops.shape import Reshape, Slice

SMALL_PART, SHORT_BLOCK = 8, 128  # of the second-level cache; rows: 784 x 256 x 768 in bytes is 15 % faster
PANEL_PART = 8  # of the second-level cache, for what is read of a panel before the next rows come
LEAST_ROWS = 64  # of a thread's own block: below that, threads share out panels


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

    def last(self, lanes: int) -> Panels:
        """The last one of a group, of no more vectors than its columns need."""
        return replace(self, panel=-(-(self.n - (self.count - 1) * self.panel) // lanes) * lanes)


@dataclass(frozen=True, slots=True)
class Gemm:
    """c[m,n] = epilogue(a[m,k] @ b[k,n]): everything about it that is fixed in the code.

    At most `block` of the `rows` are done with one panel of b before the next: they stay in the second-level cache.
    With `parts` > 0 attention takes the columns in so many equal parts, head by head: then threads share out panels.
    """

    k: int
    lda: int
    block: int
    rows: Dim
    parts: int
    tiling: Tiling
    panels: Panels

    def panel(self, number: Int) -> Int:
        """The panel that is done as `number`: first the first panels of all parts, which hold the same heads."""
        parts = self.parts if self.parts and self.panels.count % self.parts == 0 else 1
        return number % parts * (self.panels.count // parts) + number // parts


@lowers(Linear)
def lower_linear(state: Lowering, group: Group) -> None:
    """x[...,k] against a packed weight; bias and what follows run on the tile."""
    node = group.anchor
    x, weight, *bias = node.inputs
    dot = dot_for(weight.type.dtype)
    k = fixed(x.type.shape[-1], "inner size")
    tiling = tiling_for(state.target, dot, k // dot.group)
    source = operand_rows(state, x, tiling)
    rows, lda = source.rows() or (1, 0)
    builder = epilogue(state, group, bias)
    output = state.output_rows(group.output)
    shape = output.type.shape
    n = fixed(shape[-1], "feature count")
    panels = Panels(n, (output.rows() or (1, n))[1], panel_width(state.target), builder.expression(shape))
    tiling = shorter(tiling, state.target, k // dot.group)
    gemm = Gemm(k, lda, row_block(tiling, state.target, k, n), rows, attention_parts(group.output), tiling, panels)
    views = [source, state.contiguous(weight), output, *builder.views]
    widening_room(state, views[1], k, sums=gemm.block * panels.panel * (len(stretches(tiling, state.target, k)) > 1))
    kernel = state.kernel("linear", gemm, views, lambda chunk: emit_gemm(chunk, gemm), len(builder.parameters))
    label = "+".join(["linear", *(other.op.name for other in group.nodes[1:])])
    macs = node.op.macs([value.type for value in node.inputs], [node.output.type])
    count: Count = lambda e: blocks(e, gemm) * panels.count  # noqa: E731
    state.step(kernel, views, output, count, label, macs, dot.name, parameters=builder.parameters)


def attention_parts(value: Value) -> int:
    """Into how many equal parts of its columns attention takes a value, through views; 0 where others take it too."""
    starts, pending = {0}, [value]
    while pending:
        for user in pending.pop().uses:
            if isinstance(user.op, Slice) and user.op.axis == user.inputs[0].type.rank - 1:
                starts.add(fixed(user.op.start, "start"))
            elif not isinstance(user.op, Attention | Reshape | Slice):
                return 0
            if not isinstance(user.op, Attention):
                pending.append(user.output)
    return len(starts) if value.uses else 0


def operand_rows(state: Lowering, x: Value, tiling: Tiling) -> View:
    """x with its rows evenly spaced in whole words, and memory beyond them for tiles that read too far."""
    source = state.with_rows(x)
    if (source.rows() or (1, 0))[1] % tiling.dot.group:
        source = state.contiguous(x)
    if tiling.matrix:
        state.spare(tiling.rows * (source.rows() or (1, 0))[1] * source.dtype.bytes)
        source = state.in_arena(source)
    return source


def epilogue(state: Lowering, group: Group, bias: Sequence[Value]) -> Builder:
    """The anchor's bias and the nodes that follow it, seeded by the tile's sum."""
    builder = Builder(state, seeds=1)
    total = builder.seed(group.anchor.output)
    if bias:
        builder.known[group.anchor.output] = builder.term(Add(), total, builder.operand(bias[0]))
    builder.nodes(group.nodes[1:])
    return builder


def stretches(tiling: Tiling, target: CpuTarget, k: int) -> list[tuple[int, int]]:
    """(first word, words) of the parts of k, equal and even: all rows of a block are done with one before the next.

    So a panel's part stays in the second-level cache for all rows, and more rows fit beside it.
    """
    words, longest = k // tiling.dot.group, target.l2_bytes // PANEL_PART // (4 * panel_width(target))
    if tiling.matrix or words <= longest:
        return [(0, words)]
    length = 2 * -(-words // (2 * -(-words // longest)))
    return [(start, min(length, words - start)) for start in range(0, words, length)]


def row_block(tiling: Tiling, target: CpuTarget, k: int, n: int) -> int:
    """The most rows of a that one panel after the other is done with; a multiple of the tile.

    What is read of k elements at a time leaves half of the second-level cache to the panels.  Where all panels are but
    a small part of it, blocks are short, so that what is written and added stays near while panel after panel passes.
    """
    longest = max((length for _, length in stretches(tiling, target, k)), default=0) * tiling.dot.group
    fitting = target.l2_bytes // 2 // (tiling.dot.a.bytes * max(longest, 1))
    small = tiling.dot.b.bytes * k * n * SMALL_PART <= target.l2_bytes
    return max(1, (min(fitting, SHORT_BLOCK) if small else fitting) // tiling.rows) * tiling.rows


def blocks(e: Emitter, gemm: Gemm) -> Int:
    """Into how many blocks rows are cut: so many that each thread has its own, where that is worth it.

    What a thread makes of its rows it then finds in its own cache for the next step; but each reads all weights.
    """
    rows = e.dim(gemm.rows)
    shared = e.int(1) if gemm.parts else e.threads.min(rows // LEAST_ROWS)
    return shared.max((rows + (gemm.block - 1)) // gemm.block).max(1)


def block_start(rows: Int, tile: int, block: Int, count: Int) -> Int:
    """The first row of a block: blocks differ by one tile at most."""
    return block * ((rows + (tile - 1)) // tile) // count * tile


def emit_gemm(chunk: Chunk, gemm: Gemm) -> None:
    """One chunk: a block of rows against one panel."""
    e, (a, b, c, *extra) = chunk.e, chunk.operands
    panels, tiling = gemm.panels, gemm.tiling
    rows = e.dim(gemm.rows)
    block, number = chunk.number // panels.count, chunk.number % panels.count
    panel, following = gemm.panel(number), gemm.panel((number + 1) % panels.count)
    count = blocks(e, gemm)
    first = block_start(rows, tiling.rows, block, count)
    last = block_start(rows, tiling.rows, block + 1, count).min(rows)
    packed = b.at(panel * (gemm.k * panels.panel))
    weights = widened(chunk, packed, gemm.k * panels.panel)
    ahead = b.at(following * (gemm.k * panels.panel)).cast(tiling.dot.word)
    pace = prefetch_pace(e, tiling, panels.panel, last - first)
    tiles, parts = (last - first + (tiling.rows - 1)) // tiling.rows, stretches(tiling, e.target, gemm.k)
    room = e.stack(tiling.rows * panels.panel, tiling.dot.sum)
    sums = chunk.scratch.at(gemm.k * panels.panel if weights.value is chunk.scratch.value else 0).cast(tiling.dot.sum)

    def rows_of(tiling: Tiling, some: Panels) -> None:
        strides = Strides(gemm.lda // tiling.dot.group, panels.panel, some.panel)
        for start, words in parts:

            def tile(count: int, row: Int, valid: Int, start: int = start, words: int = words) -> None:
                group, whole = tiling.dot.group, len(parts) == 1
                early = Early(ahead.at((tiles * start + (row - first) // tiling.rows * words) * pace), pace)
                spot = room if whole else sums.at((row - first) * some.panel)
                operands = a.at(row * gemm.lda + start * group), weights.at(start * group * panels.panel), spot
                if tiling.short:
                    made = tile_sums(e, tiling, strides, count, operands[:2], words, early=early)
                    write_directly(e, some, row, panel * panels.panel, e.int(0), made, c, extra)
                    return
                call_tile(e, tiling, strides, count, operands, words, early=early, onward=start > 0)
                if (start, words) == parts[-1]:
                    emit_epilogue(e, some, valid, row, panel * panels.panel, e.int(0), spot, c, extra)

            for_tiles(e, tiling, first, last, gemm.rows, tile)

    by_width(e, tiling, panels, panel, rows_of)


def by_width(e: Emitter, tiling: Tiling, panels: Panels, panel: Int, body: Callable[[Tiling, Panels], None]) -> None:
    """`body(tiling, panels)` for a panel of a group, with tiles and panels of as many vectors as its columns need."""
    last = panels.last(e.lanes)
    if tiling.matrix or last == panels:
        body(tiling, panels)
        return
    narrow = replace(tiling, vectors=last.panel // e.lanes)
    if panels.count == 1:
        body(narrow, last)
        return
    with e.b.if_else(e.compare("==", panel, panels.count - 1).value) as (at_last, before):
        with at_last:
            body(narrow, last)
        with before:
            body(tiling, panels)


def write_directly(
    e: Emitter, panels: Panels, first: Int, column: Int, group: Int, sums: Sequence[Vec], c: Ptr, extra: list[Ptr]
) -> None:
    """`emit_epilogue` for a tile's sums that are still in registers, row by row."""
    masks, several = panel_masks(e, panels, column), rows_at_once(e, panels)
    rows = of_each(sums, len(sums) // len(masks))
    for number in range(0, len(rows), several):
        some = rows[number : number + several]
        places = [Place(first + number + n) for n in range(len(some))]
        flat = [total for row in some for total in row]
        write_rows(e, panels, places, group * panels.n + column, masks, flat, c, extra)


def widened(chunk: Chunk, weights: Ptr, count: int) -> Ptr:
    """The weights as tiles take them: where they lie, or from float16 to float32 in the thread's room, once a chunk."""
    e = chunk.e
    if weights.dtype is not DType.F16:
        return weights
    with e.loop(count, step=e.lanes) as loop:
        e.store(e.convert(e.load(weights, loop.index), "fpext", DType.F32), chunk.scratch, loop.index)
    return chunk.scratch


def widening_room(state: Lowering, weight: View, k: int, sums: int = 0) -> None:
    """Makes room for `widened` weights of one panel, and after them for so many sums."""
    widened = k * panel_width(state.target) if weight.dtype is DType.F16 else 0
    state.scratch(widened + sums)


def prefetch_pace(e: Emitter, tiling: Tiling, panel: int, rows: Int) -> Int:
    """Words of the next panel to ask for with each k, so that the tiles of all rows together ask for all of it."""
    tiles = (rows + (tiling.rows - 1)) // tiling.rows
    return e.int(panel) // tiles.max(1) + 1


@dataclass(frozen=True, slots=True)
class Lines:
    """Rows of a tile that are places of lines `width` wide, of which `used` are rows of c; `first` is a place."""

    first: Int
    width: int
    used: int


def emit_epilogue(
    e: Emitter,
    panels: Panels,
    rows: Int,
    first: Int,
    column: Int,
    group: Int,
    room: Ptr,
    c: Ptr,
    extra: list[Ptr],
    lines: Lines | None = None,
) -> None:
    """The tile's sums, through the epilogue, to rows from `first` of c, columns from `column` of the group.

    With `lines`, row `first` of c is place 0 and places beyond the used ones of a line are left out.  Several rows are
    done together; what is beyond the last one is written aside.
    """
    several = rows_at_once(e, panels)
    masks = panel_masks(e, panels, column)
    aside = e.stack(panels.panel, c.dtype)
    spots = range(0, panels.panel, e.lanes)
    with e.loop((rows + (several - 1)) // several) as loop:
        sums, places = [], []
        for n in range(several):
            number = loop.index * several + n
            index = number.min(rows - 1) if n else number
            row, used = _row_of(lines, first, index)
            places.append(Place(row, [number < rows, *used] if n else used))
            sums += [e.load(room, index * panels.panel + spot) for spot in spots]
        write_rows(e, panels, places, group * panels.n + column, masks, sums, c, extra, aside)


@dataclass(frozen=True, slots=True)
class Place:
    """A row of c, which counts where all conditions hold."""

    row: Int
    conditions: list[Cond] = field(default_factory=list)


def rows_at_once(e: Emitter, panels: Panels) -> int:
    """Rows of a panel that go through the epilogue together."""
    return max(1, e.target.chains * e.lanes // panels.panel)


def write_rows(
    e: Emitter,
    panels: Panels,
    places: Sequence[Place],
    column: Int,
    masks: Sequence[ir.Value | None],
    sums: Sequence[Vec],
    c: Ptr,
    extra: list[Ptr],
    aside: Ptr | None = None,
) -> None:
    """Sums of rows, each of as many vectors as there are masks, through the epilogue to c; `aside` takes the others."""
    operands = panels.epilogue.operands
    loads, targets = [], []
    for place in places:
        bases = [p.at(o.row_offset(e, place.row)) for p, o in zip(extra, operands, strict=True)]
        for number, mask in enumerate(masks):
            offset = number * e.lanes
            loads.append(loader(e, operands, bases, column + offset, mask))
            target = c.at(place.row * panels.ldc + column + offset)
            for condition in place.conditions:
                assert aside is not None, "a row with conditions may have no place"
                target = e.either(condition, target, aside.at(offset))
            targets.append(target)
    values = panels.epilogue.emit_several(e, sums, loads)
    for value, target, mask in zip(values, targets, [*masks] * len(places), strict=True):
        e.store(value, target, 0, mask)


def panel_masks(e: Emitter, panels: Panels, column: Int) -> list[ir.Value | None]:
    """Which columns of each vector of a panel there are; None stands for all."""
    offsets = range(0, panels.panel, e.lanes)
    if panels.n % panels.panel == 0:
        return [None for _ in offsets]
    return [e.mask((e.int(panels.n) - column - offset).max(0)) for offset in offsets]


def _row_of(lines: Lines | None, first: Int, index: Int) -> tuple[Int, list[Cond]]:
    """The row of c that a row of the tile is, and on what it depends whether it is one; else it is one close by."""
    if lines is None:
        return first + index, []
    spot = lines.first + index
    line, place = spot // lines.width, spot % lines.width
    return first + line * lines.used + place.min(lines.used - 1), [place < lines.used]


def loader(
    e: Emitter, operands: Sequence[Operand], bases: Sequence[Ptr], column: Int, mask: ir.Value | None
) -> Callable[[int], Vec]:
    """What an expression reads operands with: operand n from `column` on, as float32."""
    return lambda n: as_f32(e, operands[n].load(e, bases[n], column, mask), operands[n].dtype)
