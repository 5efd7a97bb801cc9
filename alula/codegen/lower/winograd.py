"""Convolution by Winograd's algorithm: what 3 x 3 kernels of floats run as where pictures are large enough.

A chunk takes some tiles of 4 x 4 output places and some panels of features.  Part by part of the channels it transforms
the pixels under its tiles and the panels' weights, and multiplies: one product of matrices for each of the 36 points,
whose rows are tiles.  At last the sums of all points become the places of each tile.  Nothing of it leaves the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

from alula.codegen.groups import Group
from alula.codegen.kernels.dot import DOT_BF16, DOT_F32, DOT_INT8, dot_for, half_of
from alula.codegen.kernels.elementwise import as_f32
from alula.codegen.kernels.tile import Early, panel_width
from alula.codegen.kernels.tiling import Strides, Tiling, call_tile, for_tiles, tiling_for
from alula.codegen.kernels.winograd import KERNEL, POINTS, REACH, SIDE, both_ways, of_pixels, of_weights, to_sums
from alula.codegen.lower.gemm import Panels, epilogue, loader, panel_masks
from alula.codegen.lower.sharing import fill_zeros
from alula.codegen.lowering import CACHE_LINE, Chunk, Lowering
from alula.codegen.vector import Cond, Emitter, Int, Ptr
from alula.core.dims import Dim, symbol
from alula.core.dtype import DType
from alula.core.target import KIB, CpuTarget
from alula.ir.graph import Node
from alula.ir.types import fixed
from alula.ops.conv import Conv2d
from alula.ops.matmul import group_of

LINE = CACHE_LINE // DType.F32.bytes
CHANNELS = 16  # that all come in whole vectors of every target
ROWS = 28  # tiles that share transformed weights, give or take a register tile's rows
PART_SHARE, LEAST_PART = 16 * KIB, 32  # bytes of the second-level cache for each channel of a part; channels
TOGETHER = 4  # panels that share transformed pixels
WORTH = 0.75  # of the direct products
FIXED = 4  # tiles whose products take as long as transforming the weights
FEW = 32  # features, for which each thread transforms all weights


@dataclass(frozen=True, slots=True)
class Winograd:
    """Everything that is fixed in the code; sizes are (height, width), `grid` counts the tiles of a picture.

    `channels` are those of one of the `groups`.  At most `rows` tiles and `together` panels make a chunk, `part`
    channels are transformed at a time.
    """

    batch: Dim
    size: tuple[int, int]
    channels: int
    groups: int
    out: tuple[int, int]
    pad: tuple[int, int]
    rows: int
    part: int
    together: int
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
    def spacing(self) -> tuple[int, int]:
        """Elements from tile to tile of the pixels' points and of the sums, a line more than they are.

        What goes through memory in such steps then meets all sets of the cache.
        """
        return self.part + LINE, POINTS * self.panels.panel + LINE

    @property
    def steps(self) -> tuple[int, int]:
        """Elements from point to point of pixels and of weights: lines in odd number, to the same end."""
        return _odd_lines(self.rows * self.spacing[0]), _odd_lines(self.part * self.panels.panel)

    @property
    def rooms(self) -> tuple[int, ...]:
        """Elements for the pixels' points, the weights' points, the sums, the pixels of a tile at a border."""
        pixels, weights = self.steps
        return POINTS * pixels, POINTS * weights, self.together * self.rows * self.spacing[1], POINTS * self.part


def _odd_lines(elements: int) -> int:
    return (elements // LINE | 1) * LINE


def suits(node: Node, target: CpuTarget) -> bool:
    """True where the algorithm takes less time than the convolution does directly.

    In float32 the choice looks at shapes alone, so that bits are the same on every target.  bfloat16 is widened: that
    beats all but tiles in matrix registers.
    """
    op = node.op
    assert isinstance(op, Conv2d)
    x, dot = node.inputs[0].type, dot_for(node.inputs[1].type.dtype)
    if op.scale or x.dtype is not dot.a or dot is DOT_INT8 or (dot is DOT_BF16 and target.matrix):
        return False
    if op.kernel != (KERNEL, KERNEL) or op.stride != (1, 1) or op.dilation != (1, 1):
        return False
    if fixed(x.shape[3], "channel count") % (op.groups * CHANNELS):
        return False
    oh, ow = (fixed(dim, "convolution size") for dim in node.output.type.shape[1:3])
    tiles, features = -(-oh // SIDE) * -(-ow // SIDE), fixed(node.output.type.shape[3], "feature count")
    once = 2 * FIXED if features <= FEW else FIXED
    return POINTS * (tiles + once) <= WORTH * KERNEL * KERNEL * oh * ow


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
    tiling = tiling_for(state.target, DOT_F32, c)
    rows = -(-ROWS // tiling.rows) * tiling.rows
    part = min(c, max(LEAST_PART, state.target.l2_bytes // PART_SHARE // CHANNELS * CHANNELS))
    together = min(panels.count, TOGETHER)
    shape = (batch, (height, width), c, op.groups, (oh, ow), (op.pad[0], op.pad[1]))
    plan = Winograd(*shape, rows, part, together, tiling, panels)
    state.scratch(sum(plan.rooms))
    views = [picture, state.contiguous(weight), output, *builder.views]
    kernel = state.kernel("winograd", plan, views, lambda chunk: emit_winograd(chunk, plan), len(builder.parameters))
    label = "+".join(["winograd", *(other.op.name for other in group.nodes[1:])])
    macs = op.macs([value.type for value in node.inputs], [node.output.type])
    saved = macs - batch * (plan.tiles * POINTS * c * features)

    def count(e: Emitter) -> Int:
        blocks, parts = shares(e, plan)
        return blocks * parts * plan.groups

    state.step(kernel, views, output, count, label, macs, saved=saved, parameters=builder.parameters)


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
    onward = plan.part < plan.channels
    if onward:
        fill_zeros(e, work.sums, plan.rooms[2])
    with e.loop(plan.channels, step=plan.part) as some:
        channels = (e.int(plan.channels) - some.index).min(plan.part) if onward else e.int(plan.part)
        work.transform_pixels(some.index, channels)
        with e.loop(end, start=panel) as loop:
            work.transform_weights(loop.index, some.index, channels)
            more = loop.index + 1 < end
            following = e.select(more, loop.index + 1, panel), e.select(more, some.index, some.index + plan.part)
            work.multiply(loop.index - panel, channels, work.plain_weights(*following), onward=onward)
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
        self.pixels, self.weights, self.sums, patch = (chunk.scratch.at(start) for start in starts)
        self.patch = patch.cast(picture.dtype)

    def transform_pixels(self, channel: Int, channels: Int) -> None:
        """pixels[point, tile, channel] of all tiles."""
        e, plan = self.e, self.plan
        with e.loop(self.count) as tile:
            source, pitch, step = self._source(self.first + tile.index, channel, channels)
            target = self.pixels.at(tile.index * plan.spacing[0])
            with e.loop(channels, step=e.lanes) as loop:
                lines = [source.at(pitch * row + loop.index) for row in range(REACH)]
                spots = [(line, step * column) for line in lines for column in range(REACH)]
                under = [as_f32(e, e.load(line, spot), source.dtype) for line, spot in spots]
                for number, point in enumerate(both_ways(e, of_pixels, under)):
                    e.store(point, target, loop.index + number * plan.steps[0])

    def _source(self, tile: Int, channel: Int, channels: Int) -> tuple[Ptr, Int, Int]:
        """(where the pixels under a tile begin, elements from line to line, and from pixel to pixel).

        That is in the picture, or in a copy with zeros for what is beyond its border.
        """
        e, plan = self.e, self.plan
        (height, width), c = plan.size, plan.channels * plan.groups
        image, top, left = self._place(tile)
        top, left = top - plan.pad[0], left - plan.pad[1]
        picture = self.picture.at(image * (height * width * c) + channel)
        inside = _within(top, height - REACH + 1) & _within(left, width - REACH + 1)
        with e.when(Cond(e, e.b.not_(inside.value))):
            zeros = e.stack(plan.part, picture.dtype)
            fill_zeros(e, zeros, plan.part)
            with e.loop(REACH) as y, e.loop(REACH) as x:
                row, column = top + y.index, left + x.index
                there = _within(row, height) & _within(column, width)
                source = e.either(there, picture.at((row * width + column) * c), zeros)
                target = self.patch.at((y.index * REACH + x.index) * plan.part)
                with e.loop(channels, step=e.lanes) as loop:
                    e.store(e.load(source, loop.index), target, loop.index)
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
        """weights[point, channel, feature] of a panel."""
        e, plan, width = self.e, self.plan, self.plan.panels.panel
        packed, group = self.plain_weights(panel, channel), group_of(self.packed.dtype)
        if group > 1:
            packed = packed.cast(DType.I32)
        with e.loop(channels // group) as word, e.loop(width, step=e.lanes) as column:
            spot = word.index * width + column.index
            places = [spot + place * (plan.channels // group * width) for place in range(KERNEL * KERNEL)]
            words = [e.load(packed, place) for place in places]
            for number in range(group):
                plain = [half_of(e, w, number) if group > 1 else as_f32(e, w, packed.dtype) for w in words]
                target = self.weights.at((word.index * group + number) * width + column.index)
                for point, value in enumerate(both_ways(e, of_weights, plain)):
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
        strides = Strides(plan.spacing[0], width, plan.spacing[1])
        with e.loop(POINTS) as point:
            pixels = self.pixels.at(point.index * plan.steps[0])
            weights = self.weights.at(point.index * plan.steps[1])
            sums = self.sums.at(number * (plan.rows * plan.spacing[1]) + point.index * width)
            place = following.at(point.index // share * (plan.channels * width))
            ahead = place.at(channels * (width // share) * (point.index % share)).cast(DType.F32)

            def tile(rows: int, row: Int, valid: Int) -> None:
                operands = pixels.at(row * plan.spacing[0]), weights, sums.at(row * plan.spacing[1])
                early = Early(ahead.at(channels * pace * (row // plan.tiling.rows)), pace)
                call_tile(e, plan.tiling, strides, rows, operands, channels, onward=onward, early=early)

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
                values = panels.epilogue.emit_several(e, both_ways(e, to_sums, points), loads)
                for value, (row, there) in zip(values, targets, strict=True):
                    e.store(value, e.either(there, self.out.at(row * panels.ldc + spot), aside), 0, mask)


def _within(place: Int, stop: int) -> Cond:
    return (place >= 0) & (place < stop)
