"""Convolution as a matrix product whose rows are windows, read where they lie in a padded picture."""

from __future__ import annotations

from dataclasses import dataclass
from math import lcm

import numpy as np
from llvmlite import ir

from alula.codegen.groups import Group
from alula.codegen.kernels.dot import Dot, dot_for
from alula.codegen.kernels.elementwise import as_f32
from alula.codegen.kernels.matrix import TILE_ROWS
from alula.codegen.kernels.narrow import to_bf16
from alula.codegen.kernels.tile import Early, Stretches, panel_width
from alula.codegen.kernels.tiling import Strides, Tiling, call_tile, for_tiles, shorter, tile_sums, tiling_for
from alula.codegen.lower.border import emit_border, repeat_patterns
from alula.codegen.lower.gemm import (
    Lines,
    Panels,
    by_width,
    emit_epilogue,
    epilogue,
    prefetch_pace,
    widened,
    widening_room,
    write_directly,
)
from alula.codegen.lower.winograd import lower_winograd, suits
from alula.codegen.lowering import Chunk, Count, Lowering, lowers
from alula.codegen.vector import Emitter, Int, Ptr, Vec
from alula.codegen.views import View
from alula.core.dims import remainders, symbol
from alula.core.dtype import DType
from alula.core.errors import CodegenError
from alula.core.target import CpuTarget
from alula.ir.graph import Value
from alula.ir.types import TensorType, fixed
from alula.ops.conv import Conv2d

LEAST_CHUNKS = 16  # of an image, so that threads can share them
WORTH_PLACES = 0.8  # of the loads by lines: from there on, going over places pays for leaving some out
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
    panel_first: bool
    tiling: Tiling
    panels: Panels

    @property
    def lines(self) -> int:
        """Whole lines of the output that a tile takes, where at least two of them fit it."""
        return 1 if self.tiling.matrix else max(1, self.tiling.rows // self.out[1])

    @property
    def by_places(self) -> bool:
        """True where tiles in matrix registers go over all places of padded lines: few are beyond the output's."""
        if not self.tiling.matrix or self.stride != (1, 1):
            return False
        by_lines = self.rows * _tile_loads(self.out[1])
        return _tile_loads((self.rows - 1) * self.size[1] + self.out[1]) <= WORTH_PLACES * by_lines

    @property
    def k(self) -> int:
        """Products that make one sum."""
        return self.kernel[0] * self.kernel[1] * (self.channels // self.groups)

    def stretches(self) -> tuple[int, Stretches]:
        """(words, stretches) in which a window lies in memory: its rows where they are contiguous, else its places."""
        length, *steps = stretches(self.size[1], self.channels, self.kernel, self.dilation, self.groups)
        words = [step // self.tiling.dot.group for step in steps]
        if len(words) == 1:
            return length // self.tiling.dot.group, Stretches(self.kernel[0], words[0])
        return length // self.tiling.dot.group, Stretches(self.kernel[0], words[0], self.kernel[1], words[1])


def _tile_loads(rows: int) -> int:
    """Tile registers loaded for each step of k: four for two tiles of rows, three for one."""
    whole, rest = divmod(rows, 2 * TILE_ROWS)
    return 4 * whole + (4 if rest > TILE_ROWS else 3 if rest else 0)


def stretches(
    width: int, channels: int, kernel: tuple[int, int], dilation: tuple[int, int], groups: int
) -> tuple[int, ...]:
    """(elements of a stretch, from one to the next down, and across where a row of the window is in pieces)."""
    if groups == 1 and dilation[1] == 1:
        return kernel[1] * channels, dilation[0] * width * channels
    return channels // groups, dilation[0] * width * channels, dilation[1] * channels


@lowers(Conv2d)
def lower_conv(state: Lowering, group: Group) -> None:
    """Padding and normalisation first where there are any, then one chunk for some output rows and one panel."""
    node = group.anchor
    op = node.op
    assert isinstance(op, Conv2d)
    if suits(node, state.target):
        lower_winograd(state, group)
        return
    x, weight, *bias = node.inputs
    dot = dot_for(weight.type.dtype)
    picture = padded_picture(state, x, op, dot)
    builder = epilogue(state, group, bias)
    output = state.output_rows(group.output)
    batch, height, width, channels = picture.type.shape
    oh, ow, features = (fixed(dim, "convolution size") for dim in output.type.shape[1:])
    expression, ldc = builder.expression(output.type.shape), (output.rows() or (1, features))[1]
    panels = Panels(features // op.groups, ldc, panel_width(state.target), expression)
    size = fixed(height, "height"), fixed(width, "width")
    c = fixed(channels, "channel count")
    k = op.kernel[0] * op.kernel[1] * c // op.groups
    length = stretches(size[1], c, op.kernel, op.dilation, op.groups)[0]
    tiling = shorter(tiling_for(state.target, dot, length // dot.group), state.target, k // dot.group)
    if tiling.matrix:
        state.spare(tiling.rows * op.stride[1] * c * picture.dtype.bytes)
        picture = state.in_arena(picture)
    row_bytes = size[1] * c * dot.a.bytes
    rows = rows_a_chunk(state.target, row_bytes * op.stride[0], oh, op.groups * panels.count)
    lines = max(1, tiling.rows // ow)
    rows = min(oh, -(-rows // lines) * lines)
    panel_first = k * features * dot.b.bytes > row_bytes * size[0]
    window = Window(size, c, (oh, ow), op.kernel, op.stride, op.dilation, op.groups, rows, panel_first, tiling, panels)
    views = [picture, state.contiguous(weight), output, *builder.views]
    widening_room(state, views[1], window.k)
    kernel = state.kernel("conv2d", window, views, lambda chunk: emit_conv(chunk, window), len(builder.parameters))
    label = "+".join(["conv2d", *(other.op.name for other in group.nodes[1:])])
    macs = op.macs([value.type for value in node.inputs], [node.output.type])
    chunks = -(-oh // rows) * op.groups * panels.count
    count: Count = lambda e: e.dim(batch) * chunks  # noqa: E731
    state.step(kernel, views, output, count, label, macs, dot.name, parameters=builder.parameters)


def rows_a_chunk(target: CpuTarget, row_bytes: int, oh: int, parts: int) -> int:
    """Output rows of a chunk: their input stays in half of the second-level cache, and there are chunks enough."""
    fitting = target.l2_bytes // 2 // max(row_bytes, 1)
    shared = -(-oh // max(1, -(-LEAST_CHUNKS // parts)))
    return max(1, min(oh, fitting, shared))


def emit_conv(chunk: Chunk, window: Window) -> None:
    """One chunk: some rows of one picture's output against one panel of one group."""
    panels = window.panels
    panel = place_of(chunk.number, window)[0] % panels.count
    by_width(chunk.e, window.tiling, panels, panel, lambda *widths: emit_rows(Work(chunk, window, *widths)))


def emit_rows(work: Work) -> None:
    """All tiles of a chunk."""
    e, window, (oh, ow) = work.e, work.window, work.window.out
    if window.by_places:
        width = window.size[1]

        def by_place(count: int, place: Int, valid: Int) -> None:
            work.tile(count, work.first, place, valid, Lines(place, width, ow))

        for_tiles(e, window.tiling, e.int(0), (work.last - work.first - 1) * width + ow, symbol("places"), by_place)
    elif window.lines > 1:
        whole = work.first + (work.last - work.first) // window.lines * window.lines
        with e.loop(whole, start=work.first, step=window.lines) as loop:
            work.tile(window.lines * ow, loop.index, e.int(0), e.int(window.lines * ow))
        for rest in remainders(oh, window.lines):
            with e.when(whole < work.last):
                work.tile(rest * ow, whole, e.int(0), e.int(rest * ow))
    else:
        with e.loop(work.last, start=work.first) as loop:
            line = loop.index
            for_tiles(e, window.tiling, e.int(0), e.int(ow), ow, lambda n, x, valid: work.tile(n, line, x, valid))


def place_of(number: Int, window: Window) -> tuple[Int, Int, Int]:
    """(panel of a group, batch element, block of rows) of a chunk.

    The larger of weights and picture is gone through once: its part stays in the cache for all parts of the other.
    """
    parts, blocks = window.groups * window.panels.count, -(-window.out[0] // window.rows)
    if window.panel_first:
        return number // blocks % parts, number // (blocks * parts), number % blocks
    return number % parts, number // parts // blocks, number // parts % blocks


class Work:
    """The code of one chunk: tiles of the lines `first` to `last` of the output; `above` lines lie before them.

    `tiling` and `written` are the window's, but of no more vectors than the chunk's panel needs.
    """

    def __init__(self, chunk: Chunk, window: Window, tiling: Tiling, written: Panels) -> None:
        e, (x, w, self.out, *self.extra) = chunk.e, chunk.operands
        panels, (height, width), oh = window.panels, window.size, window.out[0]
        part, batch, block = place_of(chunk.number, window)
        self.first, self.last = first, last = block * window.rows, ((block + 1) * window.rows).min(oh)
        self.e, self.window, self.tiling, self.written, self.above = e, window, tiling, written, batch * oh
        self.group, self.panel = part // panels.count, part % panels.count
        start = batch * (height * width * window.channels)
        self.picture = x.at(start + self.group * (window.channels // window.groups))
        packed = w.at(part * (window.k * panels.panel))
        self.weights = widened(chunk, packed, window.k * panels.panel)
        self.room = e.stack(tiling.rows * panels.panel, tiling.dot.sum)
        self.ahead = packed.at(window.k * panels.panel).cast(tiling.dot.word)
        self.pace = prefetch_pace(e, tiling, panels.panel, (last - first) * window.out[1])

    def tile(self, count: int, line: Int, column: Int, valid: Int, lines: Lines | None = None) -> None:
        """`count` places of the output from a line and a column on, of which `valid` count, through the epilogue."""
        e, window, panels, ow = self.e, self.window, self.window.panels, self.window.out[1]
        tiling = self.tiling
        group, step = tiling.dot.group, window.stride[1] * window.channels
        pitch = window.stride[0] * window.size[1] * window.channels
        words, stretches = window.stretches()
        done = (line - self.first) * ow + column
        early = Early(self.ahead.at(done // tiling.rows * self.pace * (window.k // group)), self.pace)
        operands = self.picture.at(line * pitch + column * step), self.weights, self.room
        strides = Strides(step // group, panels.panel, self.written.panel)
        runs = (ow, pitch // group) if window.lines > 1 else (0, 0)
        row = (self.above + line) * ow + (0 if lines else column)
        first = self.panel * panels.panel
        if tiling.short:
            sums = tile_sums(
                e, tiling, strides, count, operands[:2], words, stretches=stretches, early=early, runs=runs
            )
            write_directly(e, self.written, row, first, self.group, sums, self.out, self.extra)
            return
        call_tile(e, tiling, strides, count, operands, words, stretches=stretches, early=early, runs=runs)
        emit_epilogue(e, self.written, valid, row, first, self.group, self.room, self.out, self.extra, lines)


def padded_picture(state: Lowering, x: Value, op: Conv2d, dot: Dot) -> View:
    """The input in the type that products take, with its border, channels up to whole words of the dot product.

    What `scale` and `shift` make of it lies inside the border.
    """
    source = state.contiguous(x)
    batch, height, width, channels = source.type.shape
    c = fixed(channels, "channel count")
    whole = -(-c // op.groups // dot.group) * dot.group * op.groups
    if not op.scale and not any(op.pad) and source.dtype is dot.a and whole == c:
        return source
    if whole != c and (op.groups > 1 or state.target.lanes() % whole):
        raise CodegenError(f"conv2d: expected a multiple of {dot.group} channels a group for {dot.name}, got {c}")
    top, left, bottom, right = op.pad
    padded = TensorType(dot.a, (batch, height + top + bottom, width + left + right, whole))
    target = state.temporary(padded)
    border = op.border or (0,) * c
    frame = Frame(fixed(height, "height"), fixed(width, "width"), c, whole, op.pad, op.scale, op.shift, border)
    views = [source, target]
    kernel = state.kernel("pad", frame, views, lambda chunk: emit_pad(chunk, frame))
    state.step(kernel, views, target, lambda e: e.dim(padded.shape[0]) * e.dim(padded.shape[1]), "pad")
    return target


@dataclass(frozen=True, slots=True)
class Frame:
    """A picture's size, the border to put around it, and what happens to the pixels inside.

    Pixels of `channels` elements become pixels of `whole`, the rest of them 0.
    """

    height: int
    width: int
    channels: int
    whole: int
    pad: tuple[int, int, int, int]
    scale: tuple[float, ...]
    shift: tuple[float, ...]
    border: tuple[int, ...]


def emit_pad(chunk: Chunk, frame: Frame) -> None:
    """One chunk: one row of the padded picture."""
    e, (x, y) = chunk.e, chunk.operands
    top, left, bottom, right = frame.pad
    columns, inner = (left + frame.width + right) * frame.whole, frame.width * frame.whole
    rows = frame.height + top + bottom
    batch, row = chunk.number // rows, chunk.number % rows - top
    target = y.at(chunk.number * columns)
    within = (row >= 0) & (row < frame.height)
    levels = (*frame.border, *(0,) * (frame.whole - frame.channels))
    with e.b.if_else(within.value) as (picture, border):
        with picture:
            source = x.at((batch * frame.height + row) * (frame.width * frame.channels))
            emit_border(e, levels, target, left)
            emit_pixels(e, frame, source, target.at(left * frame.whole), frame.width)
            emit_border(e, levels, target.at(left * frame.whole + inner), right)
        with border:
            emit_border(e, levels, target, left + frame.width + right)


def emit_pixels(e: Emitter, frame: Frame, source: Ptr, target: Ptr, pixels: int) -> None:
    """Pixels in the target's type, scaled and shifted by channel; the pattern of channels repeats every few vectors."""
    if len(frame.scale) > MOST_SCALED:
        raise CodegenError(f"normalisation: expected at most {MOST_SCALED} channels, got {len(frame.scale)}")
    period = lcm(frame.whole, e.lanes) if frame.scale else e.lanes
    affine = [
        (_pattern(e, frame, frame.scale, n), _pattern(e, frame, frame.shift, n)) for n in range(period // e.lanes)
    ]

    def vector(spot: Int, n: int, mask: ir.Value | None) -> None:
        spread = frame.whole != frame.channels
        value = _spread_pixels(e, frame, source, spot, pixels) if spread else e.load(source, spot, mask)
        if source.dtype is not target.dtype or frame.scale:
            value = as_f32(e, value, source.dtype)
            value = e.fma(value, *affine[n]) if frame.scale else value
            value = to_bf16(e, value) if target.dtype is DType.BF16 else value
        e.store(value, target, spot, mask)

    repeat_patterns(e, len(affine), pixels * frame.whole, vector)


def _spread_pixels(e: Emitter, frame: Frame, source: Ptr, spot: Int, pixels: int) -> Vec:
    """A vector of whole pixels, from so many fewer elements of the source that lie together."""
    count = e.lanes // frame.whole
    first = spot // frame.whole
    loaded = e.load(source, first * frame.channels, e.mask(((pixels - first).min(count)) * frame.channels))
    zeros = Vec(e, ir.Constant(loaded.value.type, None))
    lanes = [
        lane // frame.whole * frame.channels + lane % frame.whole if lane % frame.whole < frame.channels else e.lanes
        for lane in range(e.lanes)
    ]
    return e.shuffle(loaded, zeros, lanes)


def _pattern(e: Emitter, frame: Frame, values: tuple[float, ...], part: int) -> Vec:
    places = [(part * e.lanes + lane) % max(frame.whole, 1) for lane in range(e.lanes)]
    return e.constants(np.array([values[place] if place < len(values) else 0.0 for place in places], np.float32))
