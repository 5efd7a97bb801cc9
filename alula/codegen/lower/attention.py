"""Attention for one head at a time: scores of a few queries stay in cache, the [n, m] matrix is never formed."""

from __future__ import annotations

from dataclasses import dataclass

from alula.codegen.groups import Group
from alula.codegen.kernels.rows import columns, softmax_row
from alula.codegen.kernels.tile import Stretches, Tile, panel_width, tile_f32, tile_shape, turn_of
from alula.codegen.kernels.transpose import emit_transpose
from alula.codegen.lower.gemm import for_tiles
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.vector import Emitter, Int, Ptr
from alula.codegen.views import View
from alula.core.dims import Dim
from alula.core.errors import CodegenError
from alula.core.target import CpuTarget
from alula.ir.graph import Value
from alula.ir.types import fixed
from alula.ops.attention import Attention

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

    def padded(self, panel: int) -> int:
        """Keys up to the next whole panel."""
        return -(-self.m // panel) * panel

    def scratch(self, target: CpuTarget) -> tuple[int, int, int]:
        """Elements of (keys in panels, padded values, scores of a tile's rows)."""
        panel, rows = panel_width(target), tile_shape(target)[0]
        lanes = target.lanes()
        values = 0 if self.v % lanes == 0 else self.m * (-(-self.v // lanes) * lanes)
        return self.padded(panel) * self.d, values, rows * self.padded(panel)


@lowers(Attention)
def lower_attention(state: Lowering, group: Group) -> None:
    """softmax(scale * q k^T) v, head by head; one chunk is one head of one batch element."""
    node = group.anchor
    op = node.op
    assert isinstance(op, Attention)
    if op.scale <= 0:
        raise CodegenError(f"attention {node.origin}: expected a scale > 0, got {op.scale}")
    (q, q_rows), (k, k_rows), (v, v_rows) = (_operand(state, value) for value in node.inputs)
    output = state.output(node.output)
    batch, n, width = output.type.shape
    keys, depth = (fixed(dim, "attention size") for dim in k.type.shape[1:])
    shape = Shape(
        op.heads,
        fixed(n, "query count"),
        keys,
        depth // op.heads,
        fixed(width, "value width") // op.heads,
        op.scale,
        q_rows,
        k_rows,
        v_rows,
    )
    if max(shape.d, shape.v) > WIDEST_HEAD:
        raise CodegenError(
            f"attention {node.origin}: expected heads of at most {WIDEST_HEAD} columns, got {max(shape.d, shape.v)}"
        )
    state.scratch(sum(shape.scratch(state.target)))
    views = [q, k, v, output]
    kernel = state.kernel("attention", shape, views, lambda chunk: emit_attention(chunk, shape))
    macs = op.macs([value.type for value in node.inputs], [node.output.type])
    state.step(kernel, views, output, lambda e: e.dim(batch) * op.heads, "attention", macs)


def _operand(state: Lowering, value: Value) -> tuple[View, Rows]:
    """Where an operand lies, with contiguous columns."""
    view = state.view(value)
    if view.strides[2] != 1 or not isinstance(view.strides[1], int):
        view = state.contiguous(value)
    return view, Rows(view.strides[0], fixed(view.strides[1], "row stride"))


def emit_attention(chunk: Chunk, shape: Shape) -> None:
    """One chunk: keys into panels, then a tile of queries after the other."""
    e = chunk.e
    batch, head = chunk.number // shape.heads, chunk.number % shape.heads
    q, k, v = (
        pointer.at(batch * e.dim(rows.batch) + head * width)
        for pointer, rows, width in zip(
            chunk.operands, (shape.q_rows, shape.k_rows, shape.v_rows), (shape.d, shape.d, shape.v), strict=False
        )
    )
    width = shape.heads * shape.v
    out = chunk.operands[3].at(batch * (shape.n * width) + head * shape.v)
    key_elements, value_elements, _ = shape.scratch(e.target)
    keys, values = chunk.scratch, chunk.scratch.at(key_elements)
    scores = values.at(value_elements)
    pack_keys(e, shape, k, keys)
    value_row = shape.v_rows.row
    if value_elements:
        value_row = value_elements // shape.m
        pad_values(e, shape, v, values, value_row)
    else:
        values = v
    full, vectors = tile_shape(e.target)
    room = e.stack(full * panel_width(e.target))
    sums = e.stack(full * e.lanes)

    def tile(count: int, row: Int) -> None:
        emit_scores(e, shape, count, q.at(row * shape.q_rows.row), keys, scores)
        padded = shape.padded(panel_width(e.target))
        with e.loop(count) as loop:
            line = scores.at(loop.index * padded)
            e.store(softmax_row(e, line, line, shape.m, shape.scale), sums, loop.index * e.lanes)
        step = vectors * e.lanes
        for first in range(0, shape.v, step):
            wide = min(vectors, -(-(shape.v - first) // e.lanes))
            function = tile_f32(e.code, Tile(count, wide, padded, value_row, wide * e.lanes, turn_of(shape.m)))
            e.call(function, scores, values.at(first), room, shape.m, *Stretches().arguments)
            with e.loop(count) as loop:
                factor = e.load(sums, loop.index * e.lanes)
                for column, mask in columns(e, min(step, shape.v - first)):
                    mixed = e.load(room, loop.index * (wide * e.lanes) + column) * factor
                    e.store(mixed, out, (row + loop.index) * width + first + column, mask)

    for_tiles(e, e.int(0), e.int(shape.n), tile, whole=shape.n % full == 0)


def pack_keys(e: Emitter, shape: Shape, k: Ptr, keys: Ptr) -> None:
    """k[m,d] -> keys[m/panel][d][panel], zero up to a whole vector: the layout in which the tile reads weights."""
    panel, step = panel_width(e.target), e.int(shape.k_rows.row)
    whole, rest = divmod(shape.m, e.lanes)

    def turn(first: Int, count: int) -> None:
        target = keys.at(first // panel * (panel * shape.d) + first % panel)
        for column in range(0, shape.d, e.lanes):
            source = k.at(first * step + column)
            depth = min(e.lanes, shape.d - column)
            emit_transpose(e, source, step, target.at(column * panel), e.int(panel), depth, count, padded=True)

    with e.loop(whole) as loop:
        turn(loop.index * e.lanes, e.lanes)
    if rest:
        turn(e.int(whole * e.lanes), rest)


def pad_values(e: Emitter, shape: Shape, v: Ptr, values: Ptr, row: int) -> None:
    """v[m,v] -> values[m,row], so that whole vectors can be read."""
    with e.loop(shape.m) as loop:
        for column, mask in columns(e, shape.v):
            e.store(e.load(v, loop.index * shape.v_rows.row + column, mask), values, loop.index * row + column)


def emit_scores(e: Emitter, shape: Shape, count: int, q: Ptr, keys: Ptr, scores: Ptr) -> None:
    """scores[count, m] = q[count, d] k^T, up to the next whole vector of keys."""
    panel = panel_width(e.target)
    whole, rest = divmod(shape.m, panel)

    def against(number: Int, vectors: int) -> None:
        function = tile_f32(
            e.code, Tile(count, vectors, shape.q_rows.row, panel, shape.padded(panel), turn_of(shape.d))
        )
        columns = number * panel
        e.call(function, q, keys.at(columns * shape.d), scores.at(columns), shape.d, *Stretches().arguments)

    with e.loop(whole) as loop:
        against(loop.index, panel // e.lanes)
    if rest:
        against(e.int(whole), -(-rest // e.lanes))
