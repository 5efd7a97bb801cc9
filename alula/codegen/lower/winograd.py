"""Convolution by Winograd's algorithm: what 3 x 3 kernels run as where pictures are large enough.

A chunk takes some tiles of 4 x 4 output places and some panels of features.  Part by part of the channels it transforms
the pixels under its tiles and the panels' weights, and multiplies: one product of matrices for each of the 36 points,
whose rows are tiles.  At last the sums of all points become the places of each tile.  Nothing of it leaves the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alula.codegen.groups import Group
from alula.codegen.kernels.dot import DOT_BF16, DOT_F32, DOT_INT8, DOT_INT16, Dot, dot_for, is_halved
from alula.codegen.kernels.tile import Early, panel_width
from alula.codegen.kernels.tiling import Strides, Tiling, call_tile, for_tiles, tiling_for
from alula.codegen.kernels.winograd import FLOATS, KERNEL, POINTS, REACH, SIDE, Numbers
from alula.codegen.kernels.winograd_int16 import SUM_BITS, WORDS
from alula.codegen.lower.border import emit_border
from alula.codegen.lower.gemm import Panels, epilogue, loader, panel_masks
from alula.codegen.lower.sharing import fill_zeros
from alula.codegen.lowering import CACHE_LINE, Chunk, Lowering
from alula.codegen.vector import Cond, Emitter, Int, Ptr
from alula.core.dims import Dim, symbol
from alula.core.dtype import DType
from alula.core.target import KIB, CpuTarget
from alula.ir.graph import Node, Value
from alula.ir.types import fixed
from alula.ops.conv import Conv2d
from alula.ops.matmul import group_of

LINE = CACHE_LINE // DType.F32.bytes
CHANNELS = 16  # that all come in whole vectors of every target
ROWS = {DOT_F32: 28, DOT_INT16: 42}  # tiles that share transformed weights, give or take a register tile's rows
PART_SHARE, LEAST_PART = 16 * KIB, 32  # bytes of the second-level cache for each word of a part; words
TOGETHER = 4  # panels that share transformed pixels, where their sums wait for other parts of the channels
WORTH = 0.9  # of the direct products' time
FIXED = 4  # tiles whose products take as long as transforming the weights
FEW = 32  # features, for which each thread transforms all weights
OF_PIXELS, OF_SUMS = 8, 5  # features and words of channels whose products take as long as transforming pixels and sums


@dataclass(frozen=True, slots=True)
class Winograd:
    """Everything that is fixed in the code; sizes are (height, width), `grid` counts the tiles of a picture.

    `channels` are those of one of the `groups`; beyond its border the picture goes on with the `border` of each.  At
    most `rows` tiles and `together` panels make a chunk, `part` channels are transformed at a time.
    """

    batch: Dim
    size: tuple[int, int]
    channels: int
    groups: int
    out: tuple[int, int]
    pad: tuple[int, int]
    border: tuple[int, ...]
    numbers: Numbers
    rows: int
    part: int
    tiling: Tiling
    panels: Panels

    @property
    def grid(self) -> tuple[int, int]:
        """Tiles down and across a picture."""
        return -(-self.out[0] // SIDE), -(-self.out[1] // SIDE)

    @property
    def tiles(self) -> int:
        """Of a picture."""
        return self.grid[0] * self.grid[1]

    @property
    def onward(self) -> bool:
        """True where sums go on from part to part of the channels."""
        return self.part < self.channels

    @property
    def together(self) -> int:
        """Panels that share transformed pixels; without further parts all of them, for the sums of one at a time do."""
        return min(self.panels.count, TOGETHER) if self.onward else self.panels.count

    @property
    def words(self) -> int:
        """Of the channels of a part, transformed."""
        return self.part // self.numbers.dot.group

    @property
    def spacing(self) -> tuple[int, int]:
        """Words from tile to tile of the pixels' points and of the sums, a line more than they are.

        What goes through memory in such steps then meets all sets of the cache.
        """
        return self.words + LINE, POINTS * self.panels.panel + LINE

    @property
    def steps(self) -> tuple[int, int]:
        """Words from point to point of pixels and of weights: lines in odd number, to the same end."""
        return _odd_lines(self.rows * self.spacing[0]), _odd_lines(self.words * self.panels.panel)

    @property
    def rooms(self) -> tuple[int, ...]:
        """Words for the pixels' points, the weights' points, the sums, the pixels of a tile at a border."""
        pixels, weights = self.steps
        sums = (self.together if self.onward else 1) * self.rows * self.spacing[1]
        return POINTS * pixels, POINTS * weights, sums, POINTS * self.part


def _odd_lines(words: int) -> int:
    return (words // LINE | 1) * LINE


def suits(node: Node, target: CpuTarget) -> bool:
    """True where the algorithm gives the convolution's sums in less time than it does directly.

    In float32 the choice looks at shapes alone, so that bits are the same on every target.  bfloat16 is widened, bytes
    become words of 16 bits: that beats all but tiles in matrix registers.
    """
    op = node.op
    assert isinstance(op, Conv2d)
    x, weight = node.inputs[0].type, node.inputs[1]
    dot = dot_for(weight.type.dtype)
    if op.scale or x.dtype is not dot.a or (target.matrix and dot in (DOT_BF16, DOT_INT8)):
        return False
    if op.kernel != (KERNEL, KERNEL) or op.stride != (1, 1) or op.dilation != (1, 1):
        return False
    if fixed(x.shape[3], "channel count") % (op.groups * CHANNELS) or not _pays(node, target, dot):
        return False
    return dot is not DOT_INT8 or _most(weight) < 2 ** (SUM_BITS - 1)


def _pays(node: Node, target: CpuTarget, dot: Dot) -> bool:
    """True where transforms and products take less time than the direct products, each counted in those."""
    op = node.op
    assert isinstance(op, Conv2d)
    oh, ow, features = (fixed(dim, "size of the output") for dim in node.output.type.shape[1:])
    channels = fixed(node.inputs[0].type.shape[3], "channel count")
    words, features = channels // op.groups // _numbers(dot).dot.group, features // op.groups
    tiles = -(-oh // SIDE) * -(-ow // SIDE)
    weights = 2 * FIXED if features <= FEW else FIXED
    others = tiles * (OF_PIXELS / features + OF_SUMS / words)
    return _cost(target, dot) * POINTS * (tiles + weights + others) <= WORTH * KERNEL * KERNEL * oh * ow


def _numbers(dot: Dot) -> Numbers:
    """As what the algorithm takes a product's elements."""
    return WORDS if dot is DOT_INT8 else FLOATS


def _cost(target: CpuTarget, dot: Dot) -> int:
    """Of a product, in direct ones: words take twice as long as bytes that have an instruction of their own."""
    return 2 if dot is DOT_INT8 and not is_halved(target, dot) else 1


def _most(weight: Value) -> int:
    """The largest magnitude of a sum of bytes with packed weights."""
    assert weight.data is not None
    columns = weight.data.transpose(0, 1, 3, 2, 4).reshape(-1, weight.data.shape[2] * weight.data.shape[4])
    positive, total = (np.sum(part, axis=1, dtype=np.int64) for part in (np.maximum(columns, 0), columns))
    return int(np.maximum(positive, positive - total).max(initial=0)) * 255


def lower_winograd(state: Lowering, group: Group) -> None:
    """One chunk for some tiles and some panels of features."""
    node = group.anchor
    op = node.op
    assert isinstance(op, Conv2d)
    x, weight, *bias = node.inputs
    picture = state.contiguous(x)
    builder = epilogue(state, group, bias)
    output = state.output_rows(group.output)
    batch, *size = picture.type.shape
    height, width, channels = (fixed(dim, "size of the input") for dim in size)
    c = channels // op.groups
    oh, ow, features = (fixed(dim, "size of the output") for dim in output.type.shape[1:])
    expression, ldc = builder.expression(output.type.shape), (output.rows() or (1, features))[1]
    panels = Panels(features // op.groups, ldc, panel_width(state.target), expression)
    dot = dot_for(weight.type.dtype)
    numbers = _numbers(dot)
    tiling = tiling_for(state.target, numbers.dot, c // numbers.dot.group)
    rows = -(-ROWS[numbers.dot] // tiling.rows) * tiling.rows
    words = max(LEAST_PART, state.target.l2_bytes // PART_SHARE // CHANNELS * CHANNELS)
    part = min(c, words * numbers.dot.group)
    shape = (batch, (height, width), c, op.groups, (oh, ow), (op.pad[0], op.pad[1]))
    plan = Winograd(*shape, op.border or (0,) * channels, numbers, rows, part, tiling, panels)
    state.scratch(sum(plan.rooms))
    views = [picture, state.contiguous(weight), output, *builder.views]
    kernel = state.kernel("winograd", plan, views, lambda chunk: emit_winograd(chunk, plan), len(builder.parameters))
    label = "+".join(["winograd", *(other.op.name for other in group.nodes[1:])])
    macs = op.macs([value.type for value in node.inputs], [node.output.type])
    saved = macs - batch * (plan.tiles * POINTS * c * features * _cost(state.target, dot))
    arithmetic = dot.name if dot is DOT_INT8 else DOT_F32.name

    def count(e: Emitter) -> Int:
        blocks, parts = shares(e, plan)
        return blocks * parts * plan.groups

    state.step(kernel, views, output, count, label, macs, arithmetic, saved=saved, parameters=builder.parameters)


def shares(e: Emitter, plan: Winograd) -> tuple[Int, Int]:
    """Into how many parts (the tiles of all pictures, the panels of a group) are cut: enough for every thread.

    First panels are shared out, for each part transforms its own weights; but every one transforms the same pixels.
    """
    total, panels = e.dim(plan.batch) * plan.tiles, plan.panels.count
    blocks = _parts(total, e.int(plan.rows))
    parts = _parts(e.threads, (blocks * plan.groups).max(1)).max(-(-panels // plan.together)).min(panels)
    even = _parts(e.threads, parts * plan.groups)
    return (_parts(blocks, even) * even).min(total), parts


def _parts(count: Int, size: Int) -> Int:
    return (count + (size - 1)) // size


def emit_winograd(chunk: Chunk, plan: Winograd) -> None:
    """One chunk: its channels part by part, then its places."""
    e, panels = chunk.e, plan.panels
    total = e.dim(plan.batch) * plan.tiles
    blocks, parts = shares(e, plan)
    part, block = chunk.number % parts, chunk.number // parts // plan.groups
    first, last = block * total // blocks, (block + 1) * total // blocks
    panel, end = (number * panels.count // parts for number in (part, part + 1))
    work = Work(chunk, plan, chunk.number // parts % plan.groups, first, last - first)
    onward = plan.onward
    if onward:
        fill_zeros(e, work.sums, plan.rooms[2])
    with e.loop(plan.channels, step=plan.part) as some:
        channels = (e.int(plan.channels) - some.index).min(plan.part) if onward else e.int(plan.part)
        work.transform_pixels(some.index, channels)
        with e.loop(end, start=panel) as loop:
            work.transform_weights(loop.index, some.index, channels)
            more = loop.index + 1 < end
            following = e.select(more, loop.index + 1, panel), e.select(more, some.index, some.index + plan.part)
            number = loop.index - panel if onward else e.int(0)
            work.multiply(number, channels, work.plain_weights(*following), onward=onward)
            if not onward:
                work.write(number, loop.index)
    if onward:
        with e.loop(end, start=panel) as loop:
            work.write(loop.index - panel, loop.index)


class Work:
    """The code of one chunk: `count` tiles from `first` on, counted over all pictures, and one group of channels."""

    def __init__(self, chunk: Chunk, plan: Winograd, group: Int, first: Int, count: Int) -> None:
        picture, packed, self.out, *self.extra = chunk.operands
        self.e, self.plan, self.group, self.first, self.count = chunk.e, plan, group, first, count
        self.picture = picture.at(group * plan.channels)
        self.packed = packed.at(group * plan.panels.count * (KERNEL * KERNEL * plan.channels * plan.panels.panel))
        starts = [sum(plan.rooms[:n]) for n in range(len(plan.rooms))]
        pixels, weights, sums, patch = (chunk.scratch.at(start) for start in starts)
        dot = plan.numbers.dot
        self.pixels, self.weights, self.sums = pixels.cast(dot.word), weights.cast(dot.word), sums.cast(dot.sum)
        self.patch = patch.cast(picture.dtype)
        whole = dot.group * self.e.lanes
        self.wide = whole if plan.part % whole == 0 == plan.channels % whole else CHANNELS  # channels at a time
        self.beyond = self.e.stack(plan.channels * plan.groups, picture.dtype)
        emit_border(self.e, plan.border, self.beyond, 1)

    def transform_pixels(self, channel: Int, channels: Int) -> None:
        """pixels[point, tile, word] of all tiles."""
        e, plan, numbers = self.e, self.plan, self.plan.numbers
        with e.loop(self.count) as tile:
            source, pitch, step = self._source(self.first + tile.index, channel, channels)
            target = self.pixels.at(tile.index * plan.spacing[0])
            with e.loop(channels, step=self.wide) as loop:
                lines = [source.at(pitch * row + loop.index) for row in range(REACH)]
                spots = [(line, step * column) for line in lines for column in range(REACH)]
                under = [numbers.pixel(e, e.load(line, spot, lanes=self.wide), source.dtype) for line, spot in spots]
                place = loop.index // numbers.dot.group
                for number, point in enumerate(numbers.of_pixels(e, under)):
                    e.store(point, target, place + number * plan.steps[0])

    def _source(self, tile: Int, channel: Int, channels: Int) -> tuple[Ptr, Int, Int]:
        """(where the pixels under a tile begin, elements from line to line, and from pixel to pixel).

        That is in the picture, or in a copy with what is beyond its border.
        """
        e, plan = self.e, self.plan
        (height, width), c = plan.size, plan.channels * plan.groups
        image, top, left = self._place(tile)
        top, left = top - plan.pad[0], left - plan.pad[1]
        picture = self.picture.at(image * (height * width * c) + channel)
        inside = _within(top, height - REACH + 1) & _within(left, width - REACH + 1)
        with e.when(Cond(e, e.b.not_(inside.value))):
            beyond = self.beyond.at(self.group * plan.channels + channel)
            with e.loop(REACH) as y, e.loop(REACH) as x:
                row, column = top + y.index, left + x.index
                there = _within(row, height) & _within(column, width)
                source = e.either(there, picture.at((row * width + column) * c), beyond)
                target = self.patch.at((y.index * REACH + x.index) * plan.part)
                with e.loop(channels, step=self.wide) as loop:
                    e.store(e.load(source, loop.index, lanes=self.wide), target, loop.index)
        source = e.either(inside, picture.at((top * width + left) * c), self.patch)
        pitch = e.select(inside, width * c, REACH * plan.part)
        return source, pitch, e.select(inside, c, plan.part)

    def _place(self, tile: Int) -> tuple[Int, Int, Int]:
        """(picture, line, column) of a tile's first output place."""
        down, across = self.plan.grid
        number = tile % (down * across)
        return tile // (down * across), number // across * SIDE, number % across * SIDE

    def plain_weights(self, panel: Int, channel: Int) -> Ptr:
        """Where a panel's weights for a channel are, at the kernel's first place."""
        plan = self.plan
        return self.packed.at((panel * (KERNEL * KERNEL * plan.channels) + channel) * plan.panels.panel)

    def transform_weights(self, panel: Int, channel: Int, channels: Int) -> None:
        """weights[point, word, feature] of a panel."""
        e, plan, width, numbers = self.e, self.plan, self.plan.panels.panel, self.plan.numbers
        packed, dtype = self.plain_weights(panel, channel), self.packed.dtype
        if (group := group_of(dtype)) > 1:
            packed = packed.cast(DType.I32)
        with e.loop(channels // group) as word, e.loop(width, step=e.lanes) as column:
            spot = word.index * width + column.index
            places = [spot + place * (plan.channels // group * width) for place in range(KERNEL * KERNEL)]
            words = [numbers.weights(e, e.load(packed, place), dtype) for place in places]
            for number, plain in enumerate(zip(*words, strict=True)):
                target = self.weights.at((word.index * len(words[0]) + number) * width + column.index)
                for point, value in enumerate(numbers.of_weights(e, plain)):
                    e.store(value, target, point * plan.steps[1])

    def multiply(self, number: Int, channels: Int, following: Ptr, *, onward: bool) -> None:
        """sums[panel, tile, point, feature] = pixels @ weights, or more where they go on from what they are.

        Meanwhile asks the cache for the weights that are transformed next: nine places of the kernel, each for four
        points.
        """
        e, plan, width = self.e, self.plan, self.plan.panels.panel
        share = POINTS // KERNEL**2
        tiles = (self.count + (plan.tiling.rows - 1)) // plan.tiling.rows
        pace = e.int(width // share) // tiles + 1
        words = channels // plan.numbers.dot.group
        strides = Strides(plan.spacing[0], width, plan.spacing[1])
        with e.loop(POINTS) as point:
            pixels = self.pixels.at(point.index * plan.steps[0])
            weights = self.weights.at(point.index * plan.steps[1])
            sums = self.sums.at(number * (plan.rows * plan.spacing[1]) + point.index * width)
            place = following.at(point.index // share * (plan.channels * width))
            ahead = place.at(channels * (width // share) * (point.index % share)).cast(plan.numbers.dot.word)

            def tile(rows: int, row: Int, valid: Int) -> None:
                operands = pixels.at(row * plan.spacing[0]), weights, sums.at(row * plan.spacing[1])
                early = Early(ahead.at(words * pace * (row // plan.tiling.rows)), pace)
                call_tile(e, plan.tiling, strides, rows, operands, words, onward=onward, early=early)

            for_tiles(e, plan.tiling, e.int(0), self.count, symbol("tiles"), tile)

    def write(self, number: Int, panel: Int) -> None:
        """The sums of a panel as places of the output, through the epilogue."""
        e, plan, panels = self.e, self.plan, self.plan.panels
        (oh, ow), operands = plan.out, panels.epilogue.operands
        aside = e.stack(e.lanes, self.out.dtype)
        column = panel * panels.panel
        masks = panel_masks(e, panels, column)
        with e.loop(self.count) as tile:
            image, top, left = self._place(self.first + tile.index)
            bases, targets = [], []
            for y in range(SIDE):
                for x in range(SIDE):
                    line, place = top + y, left + x
                    row = (image * oh + line.min(oh - 1)) * ow + place.min(ow - 1)
                    bases.append([p.at(o.row_offset(e, row)) for p, o in zip(self.extra, operands, strict=True)])
                    targets.append((row, (line < oh) & (place < ow)))
            start = self.sums.at((number * plan.rows + tile.index) * plan.spacing[1])
            for offset, mask in zip(range(0, panels.panel, e.lanes), masks, strict=True):
                spot = self.group * panels.n + column + offset
                points = [e.load(start, number * panels.panel + offset) for number in range(POINTS)]
                loads = [loader(e, operands, base, spot, mask) for base in bases]
                values = panels.epilogue.emit_several(e, plan.numbers.to_places(e, points), loads)
                for value, (row, there) in zip(values, targets, strict=True):
                    e.store(value, e.either(there, self.out.at(row * panels.ldc + spot), aside), 0, mask)


def _within(place: Int, stop: int) -> Cond:
    return (place >= 0) & (place < stop)
