"""Depthwise convolution: lanes run along the channels, a tile of places along the lines; borders are left out.

Bytes are multiplied as words of 16 bits, those of two lines of the picture at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from llvmlite import ir

from alula.codegen.expression import Expression
from alula.codegen.groups import Group
from alula.codegen.kernels.dot import DOT_F32, DOT_INT16, Dot, dot_parts
from alula.codegen.kernels.elementwise import as_f32
from alula.codegen.lower.border import emit_border
from alula.codegen.lower.conv import LEAST_CHUNKS, rows_a_chunk
from alula.codegen.lower.gemm import epilogue, loader
from alula.codegen.lowering import CACHE_LINE, Chunk, Count, Lowering, lowers
from alula.codegen.vector import Int, Ptr, Vec
from alula.core.dtype import DType
from alula.core.target import CpuTarget
from alula.ir.types import fixed
from alula.ops.depthwise import DepthwiseConv2d

MOST_PLACES = 14  # of a line in a tile: more sums than hide the latency of each
FEWEST_PLACES = 3  # of each of two lines: with fewer, sharing what both read does not pay
MULTIPLIED = 3  # registers

Pixel = Callable[[int], Vec]  # what is multiplied at so many elements from the tile's first column


@dataclass(frozen=True, slots=True)
class Column:
    """One under a tile, counted from its first: (place, column of the kernel) of each product with its pixels."""

    number: int
    inside: bool
    uses: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Depthwise:
    """Everything that is fixed in the code; `size`, `out`, `kernel` and `tile` are (height, width).

    A chunk has at most `rows` lines of the output and one of `parts` parts of the channels.  Pixels of the output are
    `spacing` elements apart.
    """

    op: DepthwiseConv2d
    dot: Dot
    size: tuple[int, int]
    out: tuple[int, int]
    channels: int
    spacing: int
    kernel: tuple[int, int]
    rows: int
    parts: int
    tile: tuple[int, int]
    epilogue: Expression

    @property
    def pitch(self) -> int:
        """Elements of a line of the picture."""
        return self.size[1] * self.channels

    @property
    def blocks(self) -> int:
        """Chunks of a picture, one below the other."""
        return -(-self.out[0] // self.rows)

    @property
    def has_border(self) -> bool:
        """True where lines beyond the picture count: bytes that stand for 0 above or below it."""
        return self.dot is DOT_INT16 and any(self.op.pad[::2])

    def inside(self, place: int) -> bool:
        """True where the whole kernel meets the picture at a place of a line."""
        first = place * self.op.stride[1] - self.op.pad[1]
        return first >= 0 and first + (self.kernel[1] - 1) * self.op.dilation[1] < self.size[1]

    def columns(self, start: int, places: int) -> list[Column]:
        """Those under some places, from left to right, but for those beyond the picture that count for nothing."""
        op = self.op
        products = [(place, tap) for place in range(places) for tap in range(self.kernel[1])]
        numbered = sorted((place * op.stride[1] + tap * op.dilation[1], (place, tap)) for place, tap in products)
        first = start * op.stride[1] - op.pad[1]
        columns = [
            Column(number, 0 <= first + number < self.size[1], tuple(use for _, use in some))
            for number, some in groupby(numbered, lambda pair: pair[0])
        ]
        return [column for column in columns if column.inside or op.zero]


@lowers(DepthwiseConv2d)
def lower_depthwise(state: Lowering, group: Group) -> None:
    """One chunk for some lines of a picture's output and some of its channels."""
    node = group.anchor
    op = node.op
    assert isinstance(op, DepthwiseConv2d)
    x, weight, *bias = node.inputs
    source = state.contiguous(x)
    builder = epilogue(state, group, bias)
    output = state.output_rows(group.output)
    batch, *size = source.type.shape
    h, w, c = (fixed(dim, "size of the input") for dim in size)
    oh, ow, _ = (fixed(dim, "size of the output") for dim in output.type.shape[1:])
    kernel = op.kernel(weight.type)
    dot = DOT_INT16 if source.dtype is DType.U8 else DOT_F32
    assert dot is DOT_F32 or op.taps, "weights are packed first"
    tile = tile_of(state.target, op, dot, (oh, ow), kernel[1])
    rows = -(-rows_a_chunk(state.target, w * c * source.dtype.bytes * op.stride[0], oh, 1) // tile[0]) * tile[0]
    parts = min(-(-LEAST_CHUNKS // -(-oh // rows)), -(-c // CACHE_LINE))
    spacing, expression = (output.rows() or (1, c))[1], builder.expression(output.type.shape)
    window = Depthwise(op, dot, (h, w), (oh, ow), c, spacing, kernel, rows, parts, tile, expression)
    if window.has_border:
        state.scratch(-(-window.pitch // DType.F32.bytes))
    views = [source, state.contiguous(weight), output, *builder.views]
    name = state.kernel(op.name, window, views, lambda chunk: emit_depthwise(chunk, window), len(builder.parameters))
    label = "+".join(other.op.name for other in group.nodes)
    macs = op.macs([value.type for value in node.inputs], [node.output.type])
    count: Count = lambda e: e.dim(batch) * (window.blocks * parts)  # noqa: E731
    state.step(name, views, output, count, label, macs, dot.name, parameters=builder.parameters)


def tile_of(target: CpuTarget, op: DepthwiseConv2d, dot: Dot, out: tuple[int, int], taps: int) -> tuple[int, int]:
    """(lines, places) whose sums fit the registers, with a row of weights for each line; a line is in equal parts.

    Two lines where they share what they read of bytes.
    """
    lines = 2 if dot is DOT_INT16 and op.stride[0] == op.dilation[0] == 1 < out[0] else 1
    fitting = (target.vector_registers - taps * lines - MULTIPLIED) // lines
    if fitting < FEWEST_PLACES:
        lines, fitting = 1, target.vector_registers - taps - MULTIPLIED
    return lines, -(-out[1] // -(-out[1] // max(2, min(MOST_PLACES, fitting))))


def emit_depthwise(chunk: Chunk, window: Depthwise) -> None:
    """One chunk: its lines from top to bottom, each from left to right, all channels of a tile before the next."""
    e, (oh, _), lines = chunk.e, window.out, window.tile[0]
    part, block = chunk.number % window.parts, chunk.number // window.parts % window.blocks
    work = Work(chunk, window, chunk.number // (window.parts * window.blocks), part)
    first, last = block * window.rows, ((block + 1) * window.rows).min(oh)
    whole = first + (last - first) // lines * lines
    with e.loop(whole, start=first, step=lines) as loop:
        work.lines(loop.index, lines)
    if oh % lines:
        with e.when(whole < last):
            work.lines(whole, 1)


class Work:
    """The code of one chunk: some channels of one picture."""

    def __init__(self, chunk: Chunk, window: Depthwise, image: Int, part: Int) -> None:
        self.e, self.window = chunk.e, window
        picture, weights, self.out, *self.extra = chunk.operands
        self.picture = picture.at(image * (window.size[0] * window.pitch))
        self.weights = weights.cast(window.dot.word)
        self.row = image * (window.out[0] * window.out[1])
        groups = -(-window.channels // CACHE_LINE)
        self.first, self.last = (number * groups // window.parts * CACHE_LINE for number in (part, part + 1))
        self.beyond = chunk.scratch.cast(picture.dtype)  # a line of the border
        if window.has_border:
            emit_border(self.e, [window.op.zero], self.beyond, window.pitch)

    def lines(self, line: Int, lines: int) -> None:
        """Some lines of the output, tile by tile: those that meet the borders know where they are."""
        e, window, (ow, places) = self.e, self.window, (self.window.out[1], self.window.tile[1])
        inner = [window.inside(place) for place in range(ow)]
        starts = range(0, ow, places)
        for whole, tiles in groupby(starts, lambda start: start + places <= ow and all(inner[start : start + places])):
            run = list(tiles)
            if whole:
                with e.loop(run[-1] + 1, start=run[0], step=places) as tile:
                    self._tile(line, lines, tile.index, places, window.columns(run[0], places))
            else:
                for start in run:
                    count = min(places, ow - start)
                    self._tile(line, lines, e.int(start), count, window.columns(start, count))

    def _tile(self, line: Int, lines: int, start: Int, places: int, columns: list[Column]) -> None:
        """The chunk's channels, vector by vector, a masked one last."""
        for column, mask in self._vectors():
            Tile(self, line, lines, start, places, columns, column, mask).emit()

    def _vectors(self) -> Iterator[tuple[Int, ir.Value | None]]:
        e, c = self.e, self.window.channels
        whole = c // e.lanes * e.lanes
        with e.loop(self.last.min(whole), start=self.first, step=e.lanes) as loop:
            yield loop.index, None
        if whole < c:
            with e.when(self.last >= c):
                yield e.int(whole), e.mask(c - whole)


@dataclass(frozen=True, slots=True)
class Tile:
    """The code of one vector of channels, from `column` on, at `places` of each of some lines of the output."""

    work: Work
    line: Int
    lines: int
    start: Int
    places: int
    columns: list[Column]
    column: Int
    mask: ir.Value | None

    def emit(self) -> None:
        """The sums, and through the epilogue to the output."""
        window = self.work.window
        sums = self._words() if window.dot is DOT_INT16 else self._floats()
        for number in range(self.lines):
            first = self.work.row + (self.line + number) * window.out[1] + self.start
            self._write(first, sums[number * self.places :][: self.places])

    def _floats(self) -> Sequence[Vec]:
        """Line by line of the kernel, of those that meet the picture."""
        e, window = self.work.e, self.work.window
        op, above, (down, _) = window.op, window.op.pad[0] - self.line * window.op.stride[0], window.op.dilation
        first = (above.max(0) + (down - 1)) // down
        last = ((above + (window.size[0] + down - 1)) // down).min(window.kernel[0])
        with e.loop(last, self._zeros(), start=first) as loop:
            line = self._pixels(self.work.picture, loop.index * op.dilation[0] - above)
            pixel: Pixel = lambda at: as_f32(e, e.load(line, at, self.mask), line.dtype)  # noqa: E731
            loop.carry(self._added(loop.carried, pixel, [self._kernel(loop.index)]))
        return loop.carried

    def _words(self) -> Sequence[Vec]:
        """By two lines of the picture: each line of the output takes those of the kernel's weights that meet there."""
        e, taps = self.work.e, self.work.window.kernel[0]
        rows = taps + self.lines - 1

        def pair(sums: Sequence[Vec], row: Int, lines: int, done: int) -> list[Vec]:
            """`done` lines of the output have had all their weights."""
            pixels = [self._line(row + n) for n in range(lines)]
            kernels = [self._kernel(row + (1 - number)) for number in range(done, self.lines)]
            return self._added(sums, lambda at: self._word(pixels, at), [*[None] * done, *kernels])

        with e.loop(rows // 2 * 2, self._zeros(), step=2) as loop:
            loop.carry(pair(loop.carried, loop.index, 2, 0))
        return pair(loop.carried, e.int(rows - 1), 1, rows - taps) if rows % 2 else loop.carried

    def _zeros(self) -> list[Vec]:
        return [self.work.e.constant(0, self.work.window.dot.sum)] * (self.lines * self.places)

    def _kernel(self, row: Int) -> Ptr:
        """A row of the weights."""
        window = self.work.window
        return self.work.weights.at(row * (window.kernel[1] * window.channels) + self.column)

    def _pixels(self, picture: Ptr, row: Int) -> Ptr:
        """The tile's first column in a row of the picture."""
        window = self.work.window
        left = self.start * window.op.stride[1] - window.op.pad[1]
        return picture.at(row * window.pitch + left * window.channels + self.column)

    def _line(self, number: Int) -> Ptr:
        """The same in a line of those under the kernel, or in the border."""
        e, window = self.work.e, self.work.window
        op = window.op
        row = self.line * op.stride[0] - op.pad[0] + number * op.dilation[0]
        line = self._pixels(self.work.picture, row)
        if not window.has_border:
            return line
        return e.either((row >= 0) & (row < window.size[0]), line, self._pixels(self.work.beyond, e.int(0)))

    def _word(self, lines: Sequence[Ptr], at: int) -> Vec:
        """The pixels of one line, or of two side by side, as words of 16 bits in lanes of 32."""
        e = self.work.e
        bytes = [e.load(line, at, self.mask) for line in lines]
        if len(bytes) == 1:
            return e.convert(bytes[0], "zext", DType.I32)
        both = e.joined(bytes)
        lanes = [place for lane in range(e.lanes) for place in (lane, both.lanes, e.lanes + lane, both.lanes)]
        return e.bitcast(e.shuffle(both, e.like(both, 0), lanes), DType.I32)

    def _added(self, sums: Sequence[Vec], pixel: Pixel, kernels: Sequence[Ptr | None]) -> list[Vec]:
        """The sums and all products of a line of the picture with a row of weights for each line of the output."""
        e, window, totals = self.work.e, self.work.window, list(sums)
        (part,) = dot_parts(e, window.dot)
        border = e.constant(window.op.zero * 0x10001, window.dot.word)
        taps = sorted({tap for column in self.columns for _, tap in column.uses})
        weights = [
            {} if kernel is None else {tap: e.load(kernel, tap * window.channels, self.mask) for tap in taps}
            for kernel in kernels
        ]
        for column in self.columns:
            value = pixel(column.number * window.channels) if column.inside else border
            for number, row in enumerate(weights):
                for place, tap in column.uses if row else ():
                    spot = number * self.places + place
                    totals[spot] = part.add(totals[spot], value, row[tap])
        return totals

    def _write(self, first: Int, totals: Sequence[Vec]) -> None:
        """Of places one after the other."""
        work = self.work
        e, expression = work.e, work.window.epilogue
        rows = [first + n for n in range(len(totals))]
        loads = []
        for row in rows:
            bases = [p.at(o.row_offset(e, row)) for p, o in zip(work.extra, expression.operands, strict=True)]
            loads.append(loader(e, expression.operands, bases, self.column, self.mask))
        for row, value in zip(rows, expression.emit_several(e, totals, loads), strict=True):
            e.store(value, work.out, row * work.window.spacing + self.column, self.mask)
