"""Attention for one head at a time: scores of a few queries stay in cache, the [n, m] matrix is never formed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import accumulate
from operator import add

from alula.codegen.expression import Expression
from alula.codegen.groups import Group
from alula.codegen.kernels.dot import DOT_F32, DOT_INT8, Dot, dot_for
from alula.codegen.kernels.rows import (
    VIRTUAL_LANES,
    columns,
    each_row,
    groups_of_rows,
    joined,
    parts,
    weights_of_row,
)
from alula.codegen.kernels.tile import panel_width
from alula.codegen.kernels.tiling import for_tiles, tiling_for
from alula.codegen.lower.builder import narrow, narrowing
from alula.codegen.lower.mixing import Mixer, Mixing
from alula.codegen.lower.scores import Scorer, Scoring, padded_keys
from alula.codegen.lowering import Chunk, Count, Lowering, lowers
from alula.codegen.vector import Emitter, Int, Ptr, Vec
from alula.codegen.views import View
from alula.core.dims import Dim
from alula.core.errors import CodegenError
from alula.core.target import CpuTarget
from alula.ir.graph import Value
from alula.ir.types import fixed
from alula.ops.attention import Attention

LINE_WORDS = 16  # of a cache line, on which everything in the scratch begins
MOST_BLOCKS = 4  # of a head's queries, where heads alone do not keep all threads busy
MANY = 8  # heads for each thread, with which it does not matter if one thread has one more
LEAST_TILES = 2  # of queries in a block
WIDEST_HEAD = 1024  # columns: what is done for each vector of them is unrolled


@dataclass(frozen=True, slots=True)
class Rows:
    """Elements from a batch to the next and from a row to the next of an operand [b, rows, columns]."""

    batch: Dim
    row: int


@dataclass(frozen=True, slots=True)
class Bias:
    """Where a bias[g,heads,n,m] lies: elements from one to the next along each axis, 0 where it is repeated."""

    period: Dim
    batch: Dim
    head: Dim
    row: Dim


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
    bias: Bias | None
    scoring: Scoring
    mixing: Mixing
    narrowing: Expression

    def rooms(self, target: CpuTarget) -> list[int]:
        """Words from the scratch's start to the places of the scorer, to those of the mixer, and to the end of it."""
        sizes = *self.scoring.rooms(target), *self.mixing.rooms(target.lanes())
        return [0, *accumulate(-(-size // LINE_WORDS) * LINE_WORDS for size in sizes)]


@lowers(Attention)
def lower_attention(state: Lowering, group: Group) -> None:
    """softmax(scale * q k^T + bias) v, head by head; one chunk is some queries of one head of one batch element."""
    node = group.anchor
    op = node.op
    assert isinstance(op, Attention)
    if op.scale <= 0:
        raise CodegenError(f"attention {node.origin}: expected a scale > 0, got {op.scale}")
    dot = dot_for(node.inputs[0].type.dtype)
    (q, q_rows), (k, k_rows), (v, v_rows) = (_operand(state, value, dot) for value in node.inputs[:3])
    added = [state.with_columns(value) for value in node.inputs[3:]]
    output = state.output(group.output)
    batch, n, width = output.type.shape
    keys, columns = (fixed(dim, "attention size") for dim in k.type.shape[1:])
    depth = columns // op.heads
    if depth % dot.group:
        raise CodegenError(f"attention {node.origin}: expected heads of even width for {dot.name}, got {depth}")
    of_scores = DOT_INT8 if op.byte_scores else dot
    tiling = tiling_for(state.target, of_scores, depth // of_scores.group)
    values = replace(tiling, dot=DOT_INT8) if op.byte_values else tiling
    value_width = fixed(width, "value width") // op.heads
    mixing = Mixing(values, keys, value_width, v_rows.row, v.dtype, padded_keys(keys, state.target))
    if tiling.matrix and not op.byte_scores:
        state.spare(tiling.rows * q_rows.row * q.dtype.bytes)
        q = state.in_arena(q)
        q_rows = Rows(q.strides[0], fixed(q.strides[1], "row stride"))
    builder = narrowing(state, group)
    shape = Shape(
        op.heads,
        fixed(n, "query count"),
        keys,
        depth,
        value_width,
        op.scale,
        q_rows,
        k_rows,
        v_rows,
        _bias(added[0]) if added else None,
        Scoring(tiling, keys, depth, q_rows.row, k_rows.row),
        mixing,
        builder.expression(()),
    )
    if max(shape.d, shape.v) > WIDEST_HEAD:
        raise CodegenError(
            f"attention {node.origin}: expected heads of at most {WIDEST_HEAD} columns, got {max(shape.d, shape.v)}"
        )
    state.scratch(shape.rooms(state.target)[-1])
    views = [q, k, v, output, *added]
    kernel = state.kernel(
        "attention", (shape, batch), views, lambda chunk: emit_attention(chunk, shape, batch), len(builder.parameters)
    )
    macs = op.macs([value.type for value in node.inputs], [node.output.type])
    products = (op.byte_scores, node.inputs[0]), (op.byte_values, node.output)
    byte_macs: Dim = 0
    for in_bytes, value in products:
        byte_macs = byte_macs + value.type.elements * keys * in_bytes
    label = "+".join(other.op.name for other in group.nodes)
    count: Count = lambda e: e.dim(batch) * op.heads * Blocks.of(e, shape, batch).count  # noqa: E731
    state.step(kernel, views, output, count, label, macs, dot.name, byte_macs, parameters=builder.parameters)


def _operand(state: Lowering, value: Value, dot: Dot) -> tuple[View, Rows]:
    """Where an operand lies, with contiguous columns and rows of whole words."""
    view = state.view(value)
    if view.strides[2] != 1 or not isinstance(view.strides[1], int) or view.strides[1] % dot.group:
        view = state.contiguous(value)
    return view, Rows(view.strides[0], fixed(view.strides[1], "row stride"))


def _bias(view: View) -> Bias:
    """Where it lies, once its columns are contiguous."""
    batch, head, row, _ = (0 if size == 1 else step for size, step in zip(view.type.shape, view.strides, strict=True))
    return Bias(view.type.shape[0], batch, head, row)


@dataclass(frozen=True, slots=True)
class Blocks:
    """How the queries of a head are shared out: so many blocks of so many queries."""

    count: Int
    queries: Int

    @classmethod
    def of(cls, e: Emitter, shape: Shape, batch: Dim) -> Blocks:
        """As many queries as keys where there are more, for every block packs the keys; else enough for all threads."""
        tiles = -(-shape.n // shape.scoring.tiling.rows)
        if shape.n >= 2 * shape.m:
            blocks = e.int(min(shape.n // shape.m, tiles))
        else:
            heads, threads = e.dim(batch) * shape.heads, e.threads
            blocks = e.int(MOST_BLOCKS)
            for fewer in range(MOST_BLOCKS - 1, 0, -1):
                blocks = e.select(e.compare("==", heads * fewer % threads, 0), fewer, blocks)
            blocks = e.select(heads >= threads * MANY, 1, blocks).min(max(tiles // LEAST_TILES, 1))
        each = (blocks + (tiles - 1)) // blocks
        return cls((each + (tiles - 1)) // each, each * shape.scoring.tiling.rows)


def emit_attention(chunk: Chunk, shape: Shape, batches: Dim) -> None:
    """One chunk: keys into panels, values as the second product takes them, then a tile of queries after the other."""
    e, tiling = chunk.e, shape.scoring.tiling
    blocks = Blocks.of(e, shape, batches)
    first = chunk.number % blocks.count * blocks.queries
    number = chunk.number // blocks.count
    batch, head = number // shape.heads, number % shape.heads
    q, k, v = (
        pointer.at(batch * e.dim(rows.batch) + head * width)
        for pointer, rows, width in zip(
            chunk.operands, (shape.q_rows, shape.k_rows, shape.v_rows), (shape.d, shape.d, shape.v), strict=False
        )
    )
    width = shape.heads * shape.v
    out = chunk.operands[3].at(batch * (shape.n * width) + head * shape.v)
    bias = _bias_of(chunk, shape.bias, batch, head)
    places = [chunk.scratch.at(start) for start in shape.rooms(e.target)[:-1]]
    scorer = Scorer(e, shape.scoring, *places[:-3])
    scorer.prepare(k)
    values, weights, scales = places[-3:]
    mixer = Mixer(e, shape.mixing, values, scorer.scores if tiling_in_place(shape) else weights, scales)
    mixer.prepare(v)
    room = e.stack(2 * tiling.rows * panel_width(e.target))
    factors, totals = e.stack(tiling.rows * e.lanes), e.stack(tiling.rows * VIRTUAL_LANES)

    def tile(count: int, row: Int, valid: Int) -> None:
        scorer.score(count, valid, q.at(row * shape.q_rows.row))
        with groups_of_rows(e, valid) as lines:
            added = (
                [bias.at((row + n) * e.dim(shape.bias.row)) for n in lines] if bias is not None and shape.bias else []
            )
            for n, most in zip(lines, scorer.largest(lines, added, shape.scale), strict=True):
                e.store(most, factors, n * e.lanes)
        with e.loop(valid) as loop:
            line, most = scorer.line(loop.index), e.load(factors, loop.index * e.lanes)
            scale = scorer.scale(loop.index, shape.scale) if bias is None else 1.0
            store, mixing = mixer.store(loop.index), shape.mixing
            sums = weights_of_row(e, line, shape.m, scale, most, store, mixing.tiling.dot, mixing.widest)
            for part, total in enumerate(sums):
                e.store(total, totals, loop.index * VIRTUAL_LANES + part * e.lanes)
        with groups_of_rows(e, valid) as lines:
            sums = [e.load(totals, n * VIRTUAL_LANES + part * e.lanes) for n in lines for part in range(parts(e))]
            inverse = 1.0 / joined(e, sums, len(lines), add)
            for n, factor in zip(lines, each_row(e, inverse, len(lines)), strict=True):
                e.store(factor, factors, n * e.lanes)

        def use(first: int, some: int, mixed: Callable[[Int, int], Vec]) -> None:
            with e.loop(valid) as loop:
                factor = e.load(factors, loop.index * e.lanes)
                for column, mask in columns(e, some):
                    written = narrow(e, shape.narrowing, mixed(loop.index, column) * factor)
                    e.store(written, out, (row + loop.index) * width + first + column, mask)

        mixer.mix(count, room, use)

    for_tiles(e, tiling, first, (first + blocks.queries).min(shape.n), shape.n, tile)


def _bias_of(chunk: Chunk, bias: Bias | None, batch: Int, head: Int) -> Ptr | None:
    """The bias of a head of a batch element."""
    if bias is None:
        return None
    e = chunk.e
    place = e.int(0) if bias.period == 1 else batch % e.dim(bias.period)
    return chunk.operands[4].at(place * e.dim(bias.batch) + head * e.dim(bias.head))


def tiling_in_place(shape: Shape) -> bool:
    """True where the weights take the place of the scores."""
    return shape.mixing.tiling.dot is DOT_F32
