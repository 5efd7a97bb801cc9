"""Outlook attention without its unfolded tensor: an output row at a time, from the windows that cover it."""

from __future__ import annotations

from dataclasses import dataclass

from llvmlite import ir

from alula.codegen.expression import Expression
from alula.codegen.groups import Group
from alula.codegen.kernels.rows import scale_row, softmax_row
from alula.codegen.lower.builder import narrow, narrowing
from alula.codegen.lower.sharing import each_vector, fill_zeros
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.vector import Cond, Emitter, Int, Ptr, Vec
from alula.core.errors import CodegenError
from alula.ir.types import fixed
from alula.ops.outlook import OutlookAttention

MOST_PLACES = 64  # of a window: their products are unrolled


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything that is fixed in the code: `windows` = (h, w) of the logits, `size` = (H, W) of the values."""

    op: OutlookAttention
    windows: tuple[int, int]
    size: tuple[int, int]
    channels: int
    narrowing: Expression

    @property
    def places(self) -> int:
        """Places of a window."""
        return self.op.kernel[0] * self.op.kernel[1]


@lowers(OutlookAttention)
def lower_outlook(state: Lowering, group: Group) -> None:
    """fold(softmax(scale * logits) @ unfold(v)); one chunk is one row of the output."""
    node = group.anchor
    op = node.op
    assert isinstance(op, OutlookAttention)
    if op.scale <= 0:
        raise CodegenError(f"outlook_attention {node.origin}: expected a scale > 0, got {op.scale}")
    if op.kernel[0] * op.kernel[1] > MOST_PLACES:
        raise CodegenError(
            f"outlook_attention {node.origin}: expected windows of at most {MOST_PLACES} places, got {op.kernel}"
        )
    logits, values = (state.contiguous(value) for value in node.inputs)
    output = state.output(group.output)
    batch, *size = output.type.shape
    h, w = (fixed(dim, "window count") for dim in logits.type.shape[1:3])
    height, width, channels = (fixed(dim, "outlook size") for dim in size)
    builder = narrowing(state, group)
    shape = Shape(op, (h, w), (height, width), channels, builder.expression(()))
    state.scratch(channels + op.kernel[1] * shape.places + width * channels)
    views = [logits, values, output]
    kernel = state.kernel("outlook", shape, views, lambda chunk: emit_outlook(chunk, shape), len(builder.parameters))
    macs = op.macs([value.type for value in node.inputs], [node.output.type])
    label = "+".join(other.op.name for other in group.nodes)
    state.step(kernel, views, output, lambda e: e.dim(batch) * height, label, macs, parameters=builder.parameters)


def emit_outlook(chunk: Chunk, shape: Shape) -> None:
    """One chunk: a row of the output, summed over the windows in the order of their rows and columns."""
    e, (logits, values, out) = chunk.e, chunk.operands
    (height, width), (h, w) = shape.size, shape.windows
    op, channels = shape.op, shape.channels
    batch, y = chunk.number // height, chunk.number % height
    picture = values.at(batch * (height * width * channels))
    row, nothing = chunk.scratch, chunk.scratch.at(width * channels)
    weights = nothing.at(channels)
    fill_zeros(e, row, width * channels)
    fill_zeros(e, nothing, channels)
    for place_y in range(op.kernel[0]):
        above = y + (op.pad[0] - place_y)  # stride * the window's row, where that is a whole number
        window_y = above // op.stride[0]
        covered = _both(above >= 0, e.compare("==", above % op.stride[0], 0), window_y < h)
        with e.when(covered), e.loop(w) as loop:
            number = batch * (h * w) + window_y * w + loop.index
            places = window_places(e, shape, picture, nothing, window_y, loop.index)
            line = logits.at(number * (op.heads * shape.places**2) + place_y * op.kernel[1] * shape.places)
            emit_window(e, shape, line, places, row, loop.index * op.stride[1] - op.pad[1], weights)
    result = out.at(chunk.number * (width * channels))

    def written(column: Int, mask: ir.Value | None) -> None:
        e.store(narrow(e, shape.narrowing, e.load(row, column, mask)), result, column, mask)

    each_vector(e, width * channels, written)


def window_places(e: Emitter, shape: Shape, picture: Ptr, nothing: Ptr, window_y: Int, window_x: Int) -> list[Ptr]:
    """Where the values of a window's places lie; zeros for those outside of the picture."""
    (height, width), op = shape.size, shape.op
    found = []
    for place in range(shape.places):
        y = window_y * op.stride[0] + (place // op.kernel[1] - op.pad[0])
        x = window_x * op.stride[1] + (place % op.kernel[1] - op.pad[1])
        inside = _both(y >= 0, y < height, x >= 0, x < width)
        found.append(e.either(inside, picture.at((y * width + x) * shape.channels), nothing))
    return found


def emit_window(e: Emitter, shape: Shape, logits: Ptr, places: list[Ptr], row: Ptr, first_x: Int, weights: Ptr) -> None:
    """Adds one row of a window's places to the output row, head by head; the row starts at column `first_x`."""
    op, depth, count = shape.op, shape.channels // shape.op.heads, shape.places
    with e.loop(op.heads) as head:
        line = logits.at(head.index * count**2)
        for x in range(op.kernel[1]):
            target = weights.at(x * count)
            scale_row(e, target, count, softmax_row(e, line.at(x * count), target, count, op.scale))

        def mix(column: Int, mask: ir.Value | None) -> None:
            channel = head.index * depth + column
            sums: list[Vec] = [e.constant(0.0)] * op.kernel[1]
            for place, pointer in enumerate(places):
                value = e.load(pointer, channel, mask)
                factors = [e.splat(weights, x * count + place) for x in range(op.kernel[1])]
                sums = [e.fma(value, factor, total) for factor, total in zip(factors, sums, strict=True)]
            for x, total in enumerate(sums):
                at = first_x + x
                with e.when(_both(at >= 0, at < shape.size[1])):
                    spot = at * shape.channels + channel
                    e.store(e.load(row, spot, mask) + total, row, spot, mask)

        each_vector(e, depth, mix)


def _both(*conditions: Cond) -> Cond:
    first, *rest = conditions
    for condition in rest:
        first = first & condition
    return first
