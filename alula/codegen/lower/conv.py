"""Convolution as a matrix product whose rows are windows, read where they lie in a padded picture."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm

import numpy as np

from alula.codegen.groups import Group
from alula.codegen.kernels.elementwise import as_f32
from alula.codegen.kernels.tile import Stretches, Tile, panel_width, tile_f32, tile_shape, turn_of
from alula.codegen.lower.gemm import Panels, emit_epilogue, epilogue, for_tiles, widened, widening_room
from alula.codegen.lower.sharing import fill_zeros
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.vector import Emitter, Int, Ptr, Vec
from alula.codegen.views import View
from alula.core.dtype import DType
from alula.core.errors import CodegenError
from alula.core.target import CpuTarget
from alula.ir.graph import Value
from alula.ir.types import TensorType, fixed
from alula.ops.conv import Conv2d

CHUNK_MACS = 8_000_000
MOST_SCALED = 512  # channels: their factors stand in the code


@dataclass(frozen=True, slots=True)
class Window:
    """Everything about a convolution that is fixed in the code; `size` = (H, W) is that of the padded picture."""

    size: tuple[int, int]
    channels: int
    out: tuple[int, int]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    groups: int
    rows: int
    panels: Panels

    @property
    def k(self) -> int:
        """Products that make one sum."""
        return self.kernel[0] * self.kernel[1] * (self.channels // self.groups)

    def stretches(self) -> tuple[int, Stretches]:
        """(length, stretches) in which a window lies in memory: its rows where they are contiguous, else its places."""
        width, channels = self.size[1] * self.channels, self.channels // self.groups
        if self.groups == 1 and self.dilation[1] == 1:
            return self.kernel[1] * channels, Stretches(self.kernel[0], self.dilation[0] * width)
        steps = self.dilation[0] * width, self.dilation[1] * self.channels
        return channels, Stretches(self.kernel[0], steps[0], self.kernel[1], steps[1])


@lowers(Conv2d)
def lower_conv(state: Lowering, group: Group) -> None:
    """Padding and normalisation first where there are any, then one chunk for some output rows and one panel."""
    node = group.anchor
    op = node.op
    assert isinstance(op, Conv2d)
    x, weight, *bias = node.inputs
    picture = padded_picture(state, x, op)
    builder = epilogue(state, group, bias)
    output = state.output(group.output)
    batch, height, width, channels = picture.type.shape
    oh, ow, features = (fixed(dim, "convolution size") for dim in output.type.shape[1:])
    panels = Panels(features // op.groups, features, panel_width(state.target), builder.expression(output.type.shape))
    size = fixed(height, "height"), fixed(width, "width")
    c = fixed(channels, "channel count")
    rows = rows_a_chunk(state.target, op, size[1] * c, oh, ow, op.kernel[0] * op.kernel[1] * c // op.groups)
    window = Window(size, c, (oh, ow), op.kernel, op.stride, op.dilation, op.groups, rows, panels)
    views = [picture, state.contiguous(weight), output, *builder.views]
    widening_room(state, views[1], window.k)
    kernel = state.kernel("conv2d", window, views, lambda chunk: emit_conv(chunk, window))
    label = "+".join(["conv2d", *(other.op.name for other in group.nodes[1:])])
    macs = op.macs([value.type for value in node.inputs], [node.output.type])
    chunks = -(-oh // rows) * op.groups * panels.count
    state.step(kernel, views, output, lambda e: e.dim(batch) * chunks, label, macs)


def rows_a_chunk(target: CpuTarget, op: Conv2d, row: int, oh: int, ow: int, k: int) -> int:
    """Output rows whose input stays in half of the second-level cache, and that are not too much work at once."""
    fitting = target.l2_bytes // 2 // max(4 * row * op.stride[0], 1)
    work = CHUNK_MACS // max(ow * k * panel_width(target), 1)
    return max(1, min(oh, fitting, work))


def emit_conv(chunk: Chunk, window: Window) -> None:
    """One chunk: some rows of one picture's output against one panel of one group."""
    e, (x, w, out, *extra) = chunk.e, chunk.operands
    (height, width), (oh, ow), panels = window.size, window.out, window.panels
    part, block = chunk.number % (window.groups * panels.count), chunk.number // (window.groups * panels.count)
    blocks = -(-oh // window.rows)
    batch, first = block // blocks, block % blocks * window.rows
    group, panel = part // panels.count, part % panels.count
    picture = x.at(batch * (height * width * window.channels) + group * (window.channels // window.groups))
    weights = widened(chunk, w.at(part * (window.k * panels.panel)), window.k * panels.panel)
    length, stretches = window.stretches()
    lda = window.stride[1] * window.channels
    full, vectors = tile_shape(e.target)
    room = e.stack(full * panels.panel)
    with e.loop((first + window.rows).min(oh), start=first) as loop:
        line = picture.at(loop.index * (window.stride[0] * width * window.channels))
        pixel = (batch * oh + loop.index) * ow

        def tile(count: int, column: Int) -> None:
            function = tile_f32(e.code, Tile(count, vectors, lda, panels.panel, panels.panel, turn_of(length)))
            e.call(function, line.at(column * lda), weights, room, length, *stretches.arguments)
            row = pixel + column
            emit_epilogue(e, panels, count, row, panel * panels.panel, group, room, out, extra)

        for_tiles(e, e.int(0), e.int(ow), tile, whole=ow % full == 0)


def padded_picture(state: Lowering, x: Value, op: Conv2d) -> View:
    """The input as float32 with its zero border; what `scale` and `shift` make of it lies inside the border."""
    source = state.contiguous(x)
    if not op.scale and not any(op.pad) and source.dtype is DType.F32:
        return source
    batch, height, width, channels = source.type.shape
    top, left, bottom, right = op.pad
    padded = TensorType(DType.F32, (batch, height + top + bottom, width + left + right, channels))
    target = state.temporary(padded)
    frame = Frame(
        fixed(height, "height"), fixed(width, "width"), fixed(channels, "channel count"), op.pad, op.scale, op.shift
    )
    views = [source, target]
    kernel = state.kernel("pad", frame, views, lambda chunk: emit_pad(chunk, frame))
    state.step(kernel, views, target, lambda e: e.dim(padded.shape[0]) * e.dim(padded.shape[1]), "pad")
    return target


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture's size, the border to put around it, and what happens to the pixels inside."""

    height: int
    width: int
    channels: int
    pad: tuple[int, int, int, int]
    scale: tuple[float, ...]
    shift: tuple[float, ...]


def emit_pad(chunk: Chunk, frame: Frame) -> None:
    """One chunk: one row of the padded picture."""
    e, (x, y) = chunk.e, chunk.operands
    top, left, bottom, right = frame.pad
    columns, inner = (left + frame.width + right) * frame.channels, frame.width * frame.channels
    rows = frame.height + top + bottom
    batch, row = chunk.number // rows, chunk.number % rows - top
    target = y.at(chunk.number * columns)
    within = (row >= 0) & (row < frame.height)
    with e.b.if_else(within.value) as (picture, border):
        with picture:
            source = x.at((batch * frame.height + row) * inner)
            fill_zeros(e, target, left * frame.channels)
            emit_pixels(e, frame, source, target.at(left * frame.channels), inner)
            fill_zeros(e, target.at(left * frame.channels + inner), right * frame.channels)
        with border:
            fill_zeros(e, target, columns)


def emit_pixels(e: Emitter, frame: Frame, source: Ptr, target: Ptr, count: int) -> None:
    """`count` elements as float32, scaled and shifted by channel; the pattern of channels repeats every few vectors."""
    if len(frame.scale) > MOST_SCALED:
        raise CodegenError(f"normalisation: expected at most {MOST_SCALED} channels, got {len(frame.scale)}")
    period = lcm(frame.channels, e.lanes) if frame.scale else e.lanes
    patterns = [(_pattern(e, frame.scale, n), _pattern(e, frame.shift, n)) for n in range(period // e.lanes)]

    def vector(spot: Int, n: int, left: int) -> None:
        mask = e.mask(left) if left < e.lanes else None
        value = as_f32(e, e.load(source, spot, mask), source.dtype)
        if frame.scale:
            value = e.fma(value, *patterns[n])
        e.store(value, target, spot, mask)

    with e.loop(count // period) as loop:
        for n in range(period // e.lanes):
            vector(loop.index * period + n * e.lanes, n, e.lanes)
    rest = count // period * period
    for n in range(-(-(count - rest) // e.lanes)):
        vector(e.int(rest + n * e.lanes), n, count - rest - n * e.lanes)


def _pattern(e: Emitter, values: tuple[float, ...], part: int) -> Vec:
    lanes = [values[(part * e.lanes + lane) % len(values)] if values else 0.0 for lane in range(e.lanes)]
    return e.constants(np.array(lanes, np.float32))
