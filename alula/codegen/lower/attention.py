"""Attention for one head at a time: scores of a few queries stay in cache, the [n, m] matrix is never formed."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from alula.codegen.expression import Expression
from alula.codegen.groups import Group
from alula.codegen.kernels.dot import Dot, dot_for
from alula.codegen.kernels.matrix import TILE_WORDS
from alula.codegen.kernels.rows import columns, softmax_row
from alula.codegen.kernels.tile import panel_width
from alula.codegen.kernels.tiling import Strides, Tiling, call_tile, for_tiles, tiling_for
from alula.codegen.kernels.transpose import emit_transpose
from alula.codegen.lower.builder import narrow, narrowing
from alula.codegen.lower.sharing import fill_zeros
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.vector import Emitter, Int, Ptr
from alula.codegen.views import View
from alula.core.dims import Dim
from alula.core.dtype import DType
from alula.core.errors import CodegenError
from alula.core.target import CpuTarget
from alula.ir.graph import Value
from alula.ir.types import fixed
from alula.ops.attention import Attention

LINE_WORDS = 16  # of a cache line, on which everything in the scratch begins
WIDEST_HEAD = 1024  # columns: what is done for each vector of them is unrolled


@dataclass(frozen=True, slots=True)
class Rows:
    """Elements from a batch to the next and from a row to the next of an operand [b, rows, columns]."""

    batch: Dim
    row: int


@dataclass(frozen=True, slots=True)
class Shape:
    """What of an attention is fixed in the code: n queries and m keys of d columns, values of v columns."""

    heads: int
    n: int
    m: int
    d: int
    v: int
    scale: float
    q_rows: Rows
    k_rows: Rows
    v_rows: Rows
    tiling: Tiling
    narrowing: Expression

    @property
    def depth(self) -> int:
        """Words of a query or key."""
        return self.d // self.tiling.dot.group

    @property
    def keys(self) -> int:
        """Words of a row of weights for the values: keys up to whole words, or to whole tiles of them."""
        words = -(-self.m // self.tiling.dot.group)
        return -(-words // TILE_WORDS) * TILE_WORDS if self.tiling.matrix else words

    def room(self, target: CpuTarget) -> Room:
        """Where everything lies in the scratch."""
        panel, rows, dot = panel_width(target), self.tiling.rows, self.tiling.dot
        padded = -(-self.m // panel) * panel
        width = -(-self.v // target.lanes()) * target.lanes()
        copied = dot.group > 1 or width != self.v
        sizes = (
            padded * self.depth,
            self.keys * width if copied else 0,
            rows * padded,
            rows * self.keys if dot.group > 1 else 0,
        )
        starts = [0, *accumulate(-(-size // LINE_WORDS) * LINE_WORDS for size in sizes)]
        return Room(*starts[:4], starts[4], padded, width if copied else self.v_rows.row, copied)


@dataclass(frozen=True, slots=True)
class Room:
    """Words from the scratch's start to keys in panels, values, scores and weights, and to the end of it all.

    A row of scores is `padded` words, a row of values `value_row`; values are `copied` unless they are read in place.
    """

    keys: int
    values: int
    scores: int
    weights: int
    end: int
    padded: int
    value_row: int
    copied: bool


@lowers(Attention)
def lower_attention(state: Lowering, group: Group) -> None:
    """softmax(scale * q k^T) v, head by head; one chunk is one head of one batch element."""
    node = group.anchor
    op = node.op
    assert isinstance(op, Attention)
    if op.scale <= 0:
        raise CodegenError(f"attention {node.origin}: expected a scale > 0, got {op.scale}")
    dot = dot_for(node.inputs[0].type.dtype)
    (q, q_rows), (k, k_rows), (v, v_rows) = (_operand(state, value, dot) for value in node.inputs)
    output = state.output(group.output)
    batch, n, width = output.type.shape
    keys, columns = (fixed(dim, "attention size") for dim in k.type.shape[1:])
    depth = columns // op.heads
    if depth % dot.group:
        raise CodegenError(f"attention {node.origin}: expected heads of even width for {dot.name}, got {depth}")
    tiling = tiling_for(state.target, dot, depth // dot.group)
    if tiling.matrix:
        state.spare(tiling.rows * q_rows.row * q.dtype.bytes)
        q = state.in_arena(q)
    shape = Shape(
        op.heads,
        fixed(n, "query count"),
        keys,
        depth,
        fixed(width, "value width") // op.heads,
        op.scale,
        q_rows,
        k_rows,
        v_rows,
        tiling,
        narrowing(state, group),
    )
    if max(shape.d, shape.v) > WIDEST_HEAD:
        raise CodegenError(
            f"attention {node.origin}: expected heads of at most {WIDEST_HEAD} columns, got {max(shape.d, shape.v)}"
        )
    state.scratch(shape.room(state.target).end)
    views = [q, k, v, output]
    kernel = state.kernel("attention", shape, views, lambda chunk: emit_attention(chunk, shape))
    macs = op.macs([value.type for value in node.inputs], [node.output.type])
    label = "+".join(other.op.name for other in group.nodes)
    state.step(kernel, views, output, lambda e: e.dim(batch) * op.heads, label, macs, dot.name)


def _operand(state: Lowering, value: Value, dot: Dot) -> tuple[View, Rows]:
    """Where an operand lies, with contiguous columns and rows of whole words."""
    view = state.view(value)
    if view.strides[2] != 1 or not isinstance(view.strides[1], int) or view.strides[1] % dot.group:
        view = state.contiguous(value)
    return view, Rows(view.strides[0], fixed(view.strides[1], "row stride"))


def emit_attention(chunk: Chunk, shape: Shape) -> None:
    """One chunk: keys into panels, values into words, then a tile of queries after the other."""
    e, tiling, place = chunk.e, shape.tiling, shape.room(chunk.e.target)
    batch, head = chunk.number // shape.heads, chunk.number % shape.heads
    q, k, v = (
        pointer.at(batch * e.dim(rows.batch) + head * width)
        for pointer, rows, width in zip(
            chunk.operands, (shape.q_rows, shape.k_rows, shape.v_rows), (shape.d, shape.d, shape.v), strict=False
        )
    )
    width = shape.heads * shape.v
    out = chunk.operands[3].at(batch * (shape.n * width) + head * shape.v)
    keys, values, scores, weights = (
        chunk.scratch.at(n) for n in (place.keys, place.values, place.scores, place.weights)
    )
    pack_keys(e, shape, k, keys)
    if tiling.dot.group > 1:
        pair_values(e, shape, v, values, place.value_row)
        weights = weights.cast(tiling.dot.a)
        fill_zeros(e, weights, tiling.rows * shape.keys * tiling.dot.group)  # what stands beyond the last key stays 0
    elif place.copied:
        pad_values(e, shape, v, values, place.value_row)
    else:
        values = v
    if tiling.dot.group == 1:
        weights = scores  # in place
    row_words = shape.keys if tiling.dot.group > 1 else place.padded
    vectors = tiling.vectors
    room = e.stack(tiling.rows * panel_width(e.target))
    sums = e.stack(tiling.rows * e.lanes)

    def tile(count: int, row: Int, valid: Int) -> None:
        emit_scores(e, shape, count, q.at(row * shape.q_rows.row), keys, scores)
        with e.loop(valid) as loop:
            line, weight = scores.at(loop.index * place.padded), weights.at(loop.index * row_words * tiling.dot.group)
            e.store(softmax_row(e, line, weight, shape.m, shape.scale), sums, loop.index * e.lanes)
        step = vectors * e.lanes
        for first in range(0, shape.v, step):
            wide = min(vectors, -(-(shape.v - first) // e.lanes))
            strides = Strides(row_words, place.value_row, wide * e.lanes)
            call_tile(e, tiling, strides, count, (weights, values.at(first), room), shape.keys, vectors=wide)
            with e.loop(valid) as loop:
                factor = e.load(sums, loop.index * e.lanes)
                for column, mask in columns(e, min(step, shape.v - first)):
                    mixed = e.load(room, loop.index * (wide * e.lanes) + column) * factor
                    written = narrow(e, shape.narrowing, mixed)
                    e.store(written, out, (row + loop.index) * width + first + column, mask)

    for_tiles(e, tiling, e.int(0), e.int(shape.n), tile, whole=shape.n % tiling.rows == 0)


def pack_keys(e: Emitter, shape: Shape, k: Ptr, keys: Ptr) -> None:
    """k[m,d] -> keys[m/panel][d words][panel], zero up to a whole vector: as the tile reads weights."""
    dot, depth = shape.tiling.dot, shape.depth
    panel, step = panel_width(e.target), e.int(shape.k_rows.row // dot.group)
    whole, rest = divmod(shape.m, e.lanes)
    source, packed = k.cast(dot.word), keys.cast(dot.word)

    def turn(first: Int, count: int) -> None:
        target = packed.at(first // panel * (panel * depth) + first % panel)
        for column in range(0, depth, e.lanes):
            block = source.at(first * step + column)
            emit_transpose(
                e,
                block,
                step,
                target.at(column * panel),
                e.int(panel),
                min(e.lanes, depth - column),
                count,
                padded=True,
            )

    with e.loop(whole) as loop:
        turn(loop.index * e.lanes, e.lanes)
    if rest:
        turn(e.int(whole * e.lanes), rest)


def pad_values(e: Emitter, shape: Shape, v: Ptr, values: Ptr, row: int) -> None:
    """v[m,v] -> values[m,row], so that whole vectors can be read."""
    with e.loop(shape.m) as loop:
        for column, mask in columns(e, shape.v):
            e.store(e.load(v, loop.index * shape.v_rows.row + column, mask), values, loop.index * row + column)


def pair_values(e: Emitter, shape: Shape, v: Ptr, values: Ptr, row: int) -> None:
    """v[m,v] -> values[words of keys][row]: a word holds a column's values of two keys; zeros beyond the last key."""
    step, words = shape.v_rows.row, values.cast(DType.BF16)
    lanes = [place // 2 + place % 2 * e.lanes for place in range(2 * e.lanes)]
    zero = e.constant(0, DType.BF16)

    def pair(number: Int, second: bool) -> None:
        upper = v.at(number * (2 * step))
        for column, mask in columns(e, shape.v):
            below = e.load(upper, column + step, mask) if second else zero
            joined = e.shuffle(e.load(upper, column, mask), below, lanes)
            e.store(joined, words, (number * row + column) * 2)

    with e.loop(shape.m // 2) as loop:
        pair(loop.index, True)
    if shape.m % 2:
        pair(e.int(shape.m // 2), False)
    used = -(-shape.m // 2)
    fill_zeros(e, values.at(used * row), (shape.keys - used) * row)


def emit_scores(e: Emitter, shape: Shape, count: int, q: Ptr, keys: Ptr, scores: Ptr) -> None:
    """scores[count, m] = q[count, d] k^T, up to the next whole vector of keys."""
    panel, dot = panel_width(e.target), shape.tiling.dot
    whole, rest = divmod(shape.m, panel)
    strides = Strides(shape.q_rows.row // dot.group, panel, shape.room(e.target).padded)

    def against(number: Int, vectors: int) -> None:
        at = number * panel
        operands = q, keys.at(at * shape.depth), scores.at(at)
        call_tile(e, shape.tiling, strides, count, operands, shape.depth, vectors=vectors)

    with e.loop(whole) as loop:
        against(loop.index, panel // e.lanes)
    if rest:
        against(e.int(whole), -(-rest // e.lanes))
