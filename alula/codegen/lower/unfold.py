"""Windows as columns and back; lanes run along the channels.  Fold adds in the order of the window's places."""

from __future__ import annotations

from dataclasses import dataclass, replace

from llvmlite import ir

from alula.codegen.groups import Group
from alula.codegen.lower.sharing import chunks, each_vector, rows_a_chunk, rows_of
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.vector import Cond, Emitter, Int, Ptr
from alula.codegen.views import bits_of
from alula.core.dims import Dim, product
from alula.ops.unfold import Fold, Unfold

VECTORS = 8  # of channels that are summed together


@dataclass(frozen=True, slots=True)
class Windows:
    """The windows of pictures[n,h,w,c] and their places as columns[n,oh,ow,kh*kw,c]; `strides` are the operand's."""

    op: Unfold | Fold
    picture: tuple[Dim, ...]
    columns: tuple[Dim, ...]
    strides: tuple[Dim, ...]


@lowers(Unfold)
def lower_unfold(state: Lowering, group: Group) -> None:
    """A copy of each window's places, zeros outside the picture."""
    node = group.anchor
    (x,), op = node.inputs, node.op
    assert isinstance(op, Unfold)
    source, output = state.with_columns(x), state.output(group.output)
    windows = Windows(op, x.type.shape, output.type.shape, source.strides)
    views = [replace(view, type=view.type.cast(bits_of(view.dtype))) for view in (source, output)]
    rows, block = product(output.type.shape[:3]), rows_a_chunk(product(output.type.shape[3:]))

    def body(chunk: Chunk) -> None:
        with rows_of(chunk, rows, block) as row:
            emit_window(chunk.e, windows, chunk.operands[0], chunk.operands[1], row)

    kernel = state.kernel("unfold", windows, views, body)
    state.step(kernel, views, output, lambda e: chunks(e, rows, block), "unfold")


def emit_window(e: Emitter, windows: Windows, source: Ptr, target: Ptr, row: Int) -> None:
    """The places of one window."""
    op, (_, h, w, c), (_, oh, ow, places, _) = windows.op, windows.picture, windows.columns
    n, y, x = _place(e, row, oh, ow)
    image = source.at(n * e.dim(windows.strides[0]))
    with e.loop(op.kernel[0]) as down, e.loop(op.kernel[1]) as across:
        line = y * op.stride[0] - op.pad[0] + down.index * op.dilation[0]
        column = x * op.stride[1] - op.pad[1] + across.index * op.dilation[1]
        pixel = image.at(line * e.dim(windows.strides[1]) + column * e.dim(windows.strides[2]))
        place = target.at((row * e.dim(places) + down.index * op.kernel[1] + across.index) * e.dim(c))
        inside = _within(e, line, h) & _within(e, column, w)

        def copied(spot: Int, mask: ir.Value | None) -> None:
            e.store(e.load(pixel, spot, mask), place, spot, mask)

        def cleared(spot: Int, mask: ir.Value | None) -> None:
            e.store(e.constant(0, target.dtype), place, spot, mask)

        with e.b.if_else(inside.value) as (picture, padding):
            with picture:
                each_vector(e, c, copied)
            with padding:
                each_vector(e, c, cleared)


@lowers(Fold)
def lower_fold(state: Lowering, group: Group) -> None:
    """Each element of the picture: the sum over the places of all windows that hold it."""
    node = group.anchor
    (x,), op = node.inputs, node.op
    assert isinstance(op, Fold)
    source, output = state.with_columns(x), state.output(group.output)
    windows = Windows(op, output.type.shape, x.type.shape, source.strides)
    rows, block = product(output.type.shape[:3]), rows_a_chunk(product(x.type.shape[3:]))

    def body(chunk: Chunk) -> None:
        with rows_of(chunk, rows, block) as row:
            emit_pixel(chunk.e, windows, chunk.operands[0], chunk.operands[1], row)

    kernel = state.kernel("fold", windows, [source, output], body)
    state.step(kernel, [source, output], output, lambda e: chunks(e, rows, block), "fold")


def emit_pixel(e: Emitter, windows: Windows, source: Ptr, target: Ptr, row: Int) -> None:
    """All channels of one pixel."""
    _, h, w, c = windows.picture
    n, y, x = _place(e, row, h, w)
    image, output = source.at(n * e.dim(windows.strides[0])), target.at(row * e.dim(c))
    wide = VECTORS * e.lanes
    whole = e.dim(c) // wide * wide
    with e.loop(whole, step=wide) as loop:
        _emit_sums(e, windows, image.at(loop.index), output.at(loop.index), (y, x), VECTORS, None)
    with e.loop(e.dim(c), start=whole, step=e.lanes) as loop:
        mask = e.mask(e.dim(c) - loop.index)
        _emit_sums(e, windows, image.at(loop.index), output.at(loop.index), (y, x), 1, mask)


def _emit_sums(
    e: Emitter, windows: Windows, image: Ptr, output: Ptr, place: tuple[Int, Int], vectors: int, mask: ir.Value | None
) -> None:
    op, (_, oh, ow, _, _) = windows.op, windows.columns
    strides = [e.dim(stride) for stride in windows.strides]
    zeros = [e.constant(0.0)] * vectors
    with e.loop(op.kernel[0], zeros) as down:
        line, in_line = _window(e, windows, 0, place[0], down.index, oh)
        with e.loop(op.kernel[1], down.carried) as across:
            column, in_column = _window(e, windows, 1, place[1], across.index, ow)
            number = down.index * op.kernel[1] + across.index
            at = image.at(line * strides[1] + column * strides[2] + number * strides[3])
            with e.loop(e.select(in_line & in_column, 1, 0), across.carried) as once:  # a turn if there is a window
                once.carry([total + e.load(at, v * e.lanes, mask) for v, total in enumerate(once.carried)])
            across.carry(once.carried)
        down.carry(across.carried)
    for v, total in enumerate(down.carried):
        e.store(total, output, v * e.lanes, mask)


def _window(e: Emitter, windows: Windows, i: int, place: Int, element: Int, count: Dim) -> tuple[Int, Cond]:
    """(number of the window that has `place` as its `element`, whether there is one), down (i=0) or across (i=1)."""
    op = windows.op
    start = place + op.pad[i] - element * op.dilation[i]
    number = start // op.stride[i]  # of no meaning where start is negative
    exact = e.compare("==", number * op.stride[i], start)
    return number, (start >= 0) & exact & (number < e.dim(count))


def _place(e: Emitter, row: Int, h: Dim, w: Dim) -> tuple[Int, Int, Int]:
    rest = row // e.dim(w)
    return rest // e.dim(h), rest % e.dim(h), row % e.dim(w)


def _within(e: Emitter, index: Int, size: Dim) -> Cond:
    return (index >= 0) & (index < e.dim(size))
