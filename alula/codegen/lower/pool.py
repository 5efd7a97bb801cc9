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
    columns, wide = e.dim(c), VECTORS * e.lanes
    whole = columns // wide * wide
    output = target.at(row * e.dim(pool.spacing))
    with e.loop(whole, step=wide) as loop:
        _emit_channels(e, pool, image, output, loop.index, (across, down), count, VECTORS, None)
    with e.loop(columns, start=whole, step=e.lanes) as loop:
        _emit_channels(e, pool, image, output, loop.index, (across, down), count, 1, columns)


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
    columns: Int | None,
) -> None:
    """So many vectors of channels from `column`; masked where `columns` says how many there are."""
    (top, bottom), (left, right) = spans
    start, combine = _combination(e, image.dtype, count)
    mask = None if columns is None else e.mask(columns - column)
    with e.loop(bottom, [start] * vectors, start=top) as outer:
        line = image.at(outer.index * e.dim(pool.strides[1])).at(column)
        with e.loop(right, outer.carried, start=left) as inner:
            pixel = line.at(inner.index * e.dim(pool.strides[2]))
            loaded = [e.load(pixel, v * e.lanes, mask) for v in range(vectors)]
            inner.carry([combine(total, new) for total, new in zip(inner.carried, loaded, strict=True)])
        outer.carry(inner.carried)
    for v, total in enumerate(outer.carried):
        result = total if count is None else total / count
        e.store(exact(e, result, output.dtype) if result.is_float else result, output, column + v * e.lanes, mask)


def _combination(e: Emitter, dtype: DType, count: Vec | None) -> tuple[Vec, Callable[[Vec, Vec], Vec]]:
    """What the elements of a window start from, and how a loaded vector joins them.  Bytes are compared as they are."""
    if dtype is DType.U8:
        return e.constant(0, dtype), lambda total, new: e.binary("umax", total, new)
    op, start = (Maximum(), float("-inf")) if count is None else (Add(), 0.0)
    return e.constant(start), lambda total, new: emit_op(e, op, (total, as_f32(e, new, dtype)))
