"""Depthwise convolution: lanes run along the channels, a tile of places along a line; borders are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from llvmlite import ir

from alula.codegen.expression import Expression
from alula.codegen.groups import Group
from alula.codegen.kernels.elementwise import as_f32
from alula.codegen.lower.conv import rows_a_chunk
from alula.codegen.lower.gemm import epilogue, loader
from alula.codegen.lower.sharing import each_vector
from alula.codegen.lowering import Chunk, Count, Lowering, lowers
from alula.codegen.vector import Int, Ptr, Vec
from alula.core.target import CpuTarget
from alula.ir.types import fixed
from alula.ops.depthwise import DepthwiseConv2d

MOST_PLACES = 14  # of a tile: more sums than hide the latency of each


@dataclass(frozen=True, slots=True)
class Depthwise:
    """Everything that is fixed in the code; `size` and `out` are (height, width), `rows` those of a chunk.

    Pixels of the output are `spacing` elements apart.
    """

    op: DepthwiseConv2d
    size: tuple[int, int]
    out: tuple[int, int]
    channels: int
    spacing: int
    kernel: tuple[int, int]
    rows: int
    places: int
    epilogue: Expression

    def taps(self, place: int) -> list[int]:
        """The columns of the kernel that meet the picture at a place of a line."""
        first = place * self.op.stride[1] - self.op.pad[1]
        return [tap for tap in range(self.kernel[1]) if 0 <= first + tap * self.op.dilation[1] < self.size[1]]


@lowers(DepthwiseConv2d)
def lower_depthwise(state: Lowering, group: Group) -> None:
    """One chunk for some lines of a picture's output."""
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
    kh, kw, _ = (fixed(dim, "size of the kernel") for dim in weight.type.shape)
    rows = rows_a_chunk(state.target, w * c * source.dtype.bytes * op.stride[0], oh, 1)
    places = places_a_tile(state.target, ow, kw)
    expression = builder.expression(output.type.shape)
    window = Depthwise(op, (h, w), (oh, ow), c, (output.rows() or (1, c))[1], (kh, kw), rows, places, expression)
    views = [source, state.contiguous(weight), output, *builder.views]
    kernel = state.kernel(op.name, window, views, lambda chunk: emit_depthwise(chunk, window), len(builder.parameters))
    label = "+".join(other.op.name for other in group.nodes)
    macs = op.macs([value.type for value in node.inputs], [node.output.type])
    count: Count = lambda e: e.dim(batch) * -(-oh // rows)  # noqa: E731
    state.step(kernel, views, output, count, label, macs, parameters=builder.parameters)


def places_a_tile(target: CpuTarget, width: int, taps: int) -> int:
    """So many sums that they, a line of the kernel and what is multiplied fit the registers; lines in equal parts."""
    fitting = max(2, min(MOST_PLACES, target.vector_registers - taps - 2))
    return -(-width // -(-width // fitting))


def emit_depthwise(chunk: Chunk, window: Depthwise) -> None:
    """One chunk: its lines one after the other, each from left to right, all channels of a tile before the next."""
    e, (oh, ow), places = chunk.e, window.out, window.places
    blocks = -(-oh // window.rows)
    image, block = chunk.number // blocks, chunk.number % blocks
    with e.loop(((block + 1) * window.rows).min(oh), start=block * window.rows) as line:
        work = Work(chunk, window, image, line.index)
        inner = [len(window.taps(place)) == window.kernel[1] for place in range(ow)]
        starts = range(0, ow, places)
        for whole, tiles in groupby(starts, lambda start: start + places <= ow and all(inner[start : start + places])):
            run = list(tiles)
            if whole:
                with e.loop(run[-1] + 1, start=run[0], step=places) as tile:
                    work.tile(tile.index, [window.taps(run[0])] * places)
            else:
                for start in run:
                    work.tile(e.int(start), [window.taps(place) for place in range(start, min(start + places, ow))])


class Work:
    """The code of one line of the output."""

    def __init__(self, chunk: Chunk, window: Depthwise, image: Int, line: Int) -> None:
        self.e, self.window = chunk.e, window
        picture, self.weights, self.out, *self.extra = chunk.operands
        (height, width), op = window.size, window.op
        top = line * op.stride[0]
        down = op.dilation[0]
        self.first = ((op.pad[0] - top).max(0) + (down - 1)) // down
        self.last = ((height + op.pad[0] - top + (down - 1)) // down).min(window.kernel[0])
        self.picture = picture.at((image * height + (top - op.pad[0])) * (width * window.channels))
        self.row = (image * window.out[0] + line) * window.out[1]

    def tile(self, start: Int, taps: list[list[int]]) -> None:
        """All channels of the places from `start` on; `taps` are the columns of the kernel that count at each."""
        each_vector(self.e, self.window.channels, lambda column, mask: self._vector(start, taps, column, mask))

    def _vector(self, start: Int, taps: list[list[int]], column: Int, mask: ir.Value | None) -> None:
        e, window, op = self.e, self.window, self.window.op
        width, channels = window.size[1], window.channels
        left = self.picture.at((start * op.stride[1] - op.pad[1]) * channels + column)
        with e.loop(self.last, [e.constant(0.0)] * len(taps), start=self.first) as loop:
            line = left.at(loop.index * (op.dilation[0] * width * channels))
            kernel = self.weights.at(loop.index * (window.kernel[1] * channels) + column)
            weights = {tap: e.load(kernel, tap * channels, mask) for tap in sorted({t for some in taps for t in some})}
            sums = list(loop.carried)
            for place, uses in _uses(taps, op.stride[1], op.dilation[1]):
                pixel = self._pixel(line, place * channels, mask)
                for number, tap in uses:
                    sums[number] = e.fma(pixel, weights[tap], sums[number])
            loop.carry(sums)
        self._write(start, loop.carried, column, mask)

    def _pixel(self, line: Ptr, offset: int, mask: ir.Value | None) -> Vec:
        value = as_f32(self.e, self.e.load(line, offset, mask), line.dtype)
        return value - float(self.window.op.zero) if self.window.op.zero else value

    def _write(self, place: Int, totals: Sequence[Vec], column: Int, mask: ir.Value | None) -> None:
        """Of places one after the other, from `place` on."""
        e, expression = self.e, self.window.epilogue
        rows = [self.row + place + n for n in range(len(totals))]
        loads = []
        for row in rows:
            bases = [p.at(o.row_offset(e, row)) for p, o in zip(self.extra, expression.operands, strict=True)]
            loads.append(loader(e, expression.operands, bases, column, mask))
        for row, value in zip(rows, expression.emit_several(e, totals, loads), strict=True):
            e.store(value, self.out, row * self.window.spacing + column, mask)


def _uses(taps: list[list[int]], stride: int, dilation: int) -> list[tuple[int, list[tuple[int, int]]]]:
    """(column of the picture, [(sum, column of the kernel)]) from left to right: each pixel is read once a line."""
    pairs = [(number * stride + tap * dilation, (number, tap)) for number, some in enumerate(taps) for tap in some]
    pairs.sort()
    return [(place, [use for _, use in uses]) for place, uses in groupby(pairs, lambda pair: pair[0])]
