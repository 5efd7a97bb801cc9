"""Pooling: lanes run along the channels, the window is two loops that stay within x."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from alula.codegen.groups import Group
from alula.codegen.kernels.elementwise import as_f32, emit_op
from alula.codegen.kernels.narrow import exact
from alula.codegen.lower.sharing import chunks, rows_a_chunk, rows_of
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.vector import Emitter, Int, Ptr, Vec
from alula.core.dims import Dim, product
from alula.core.dtype import DType
from alula.ops.elementwise import Add, Maximum
from alula.ops.pool import AvgPool2d, MaxPool2d, Pool2d

VECTORS = 8  # of channels that go through the window together


@dataclass(frozen=True, slots=True)
class Pool:
    """A pooling as its kernel knows it: x[n,h,w,c] by its strides -> [n,oh,ow,c], pixels `spacing` elements apart."""

    op: Pool2d
    h: Dim
    w: Dim
    out: tuple[Dim, ...]
    strides: tuple[Dim, ...]
    spacing: Dim


@lowers(MaxPool2d, AvgPool2d)
def lower_pool(state: Lowering, group: Group) -> None:
    """The windows of x[n,h,w,c]."""
    node = group.anchor
    (x,), op = node.inputs, node.op
    assert isinstance(op, Pool2d)
    source, output = state.with_columns(x), state.output_rows(group.output)
    _, h, w, c = x.type.shape
    pool = Pool(op, h, w, output.type.shape, source.strides, (output.rows() or (1, c))[1])
    rows, block = product(output.type.shape[:-1]), rows_a_chunk(c * op.kernel[0] * op.kernel[1])

    def body(chunk: Chunk) -> None:
        with rows_of(chunk, rows, block) as row:
            emit_pixel(chunk.e, pool, chunk.operands[0], chunk.operands[1], row)

    kernel = state.kernel(op.name, pool, [source, output], body)
    state.step(kernel, [source, output], output, lambda e: chunks(e, rows, block), op.name)


def emit_pixel(e: Emitter, pool: Pool, source: Ptr, target: Ptr, row: Int) -> None:
    """All channels of one window."""
    _, oh, ow, c = pool.out
    x, rest = row % e.dim(ow), row // e.dim(ow)
    y, n = rest % e.dim(oh), rest // e.dim(oh)
    image = source.at(n * e.dim(pool.strides[0]))
    across, down = _span(e, pool, 0, y, pool.h), _span(e, pool, 1, x, pool.w)
    count = _count(e, pool, (y, x), (across, down))
    output = target.at(row * e.dim(pool.spacing))

    def channels(column: Int, vectors: int, left: Int | None = None) -> None:
        _emit_channels(e, pool, image, output, column, (across, down), count, vectors, left)

    wide = VECTORS * e.lanes
    whole = e.dim(c) // wide * wide
    with e.loop(whole, step=wide) as loop:
        channels(loop.index, VECTORS)
    if not isinstance(c, int):
        with e.loop(e.dim(c), start=whole, step=e.lanes) as loop:
            channels(loop.index, 1, e.dim(c) - loop.index)
        return
    start, vectors = c // wide * wide, VECTORS // 2
    while vectors:
        if c - start >= vectors * e.lanes:
            channels(e.int(start), vectors)
            start += vectors * e.lanes
        vectors //= 2
    if start < c:
        channels(e.int(start), 1, e.int(c - start))


def _span(e: Emitter, pool: Pool, i: int, place: Int, size: Dim) -> tuple[Int, Int]:
    """The window's first and last row (i=0) or column (i=1) within x, the last excluded."""
    first = place * pool.op.stride[i] - pool.op.pad[i]
    return first.max(0), (first + pool.op.kernel[i]).min(e.dim(size))


def _count(e: Emitter, pool: Pool, place: Sequence[Int], spans: Sequence[tuple[Int, Int]]) -> Vec | None:
    """By how much the sum is to be divided; None for the maximum."""
    op = pool.op
    if not isinstance(op, AvgPool2d):
        return None
    sides = []
    for i, (first, last) in enumerate(spans):
        if op.count_include_pad:
            first = place[i] * op.stride[i]  # counted from the first row of the padding
            last = (first + op.kernel[i]).min(e.dim((pool.h, pool.w)[i]) + op.pad[i] + op.pad[i + 2])
        sides.append(last - first)
    return e.spread(e.b.sitofp((sides[0] * sides[1]).value, e.type().element))


def _emit_channels(
    e: Emitter,
    pool: Pool,
    image: Ptr,
    output: Ptr,
    column: Int,
    spans: Sequence[tuple[Int, Int]],
    count: Vec | None,
    vectors: int,
    left: Int | None,
) -> None:
    """So many vectors of channels from `column`, as one; masked where only so many channels are left."""
    (top, bottom), (first, last) = spans
    divisor = None if count is None else e.joined([count] * vectors)
    with e.long(vectors):
        start, combine = _combination(e, image.dtype, count)
        mask = None if left is None else e.mask(left)
        with e.loop(bottom, [start], start=top) as outer:
            line = image.at(outer.index * e.dim(pool.strides[1])).at(column)
            with e.loop(last, outer.carried, start=first) as inner:
                loaded = e.load(line.at(inner.index * e.dim(pool.strides[2])), 0, mask)
                inner.carry([combine(inner.carried[0], loaded)])
            outer.carry(inner.carried)
        (total,) = outer.carried
        result = total if divisor is None else total / divisor
        e.store(exact(e, result, output.dtype) if result.is_float else result, output, column, mask)


def _combination(e: Emitter, dtype: DType, count: Vec | None) -> tuple[Vec, Callable[[Vec, Vec], Vec]]:
    """What the elements of a window start from, and how a loaded vector joins them.  Bytes are compared as they are."""
    if dtype is DType.U8:
        return e.constant(0, dtype), lambda total, new: e.binary("umax", total, new)
    op, start = (Maximum(), float("-inf")) if count is None else (Add(), 0.0)
    return e.constant(start), lambda total, new: emit_op(e, op, (total, as_f32(e, new, dtype)))
