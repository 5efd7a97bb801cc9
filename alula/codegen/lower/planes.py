"""Elementwise nodes that read planes and write pixels: vectors of pixels, whose channels are mixed in registers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llvmlite import ir

from alula.codegen.expression import Expression, Operand
from alula.codegen.kernels.elementwise import as_f32
from alula.codegen.lower.sharing import CHUNK_WORK, chunks
from alula.codegen.lowering import Chunk
from alula.codegen.vector import Emitter, Int, Vec
from alula.core.dims import Dim, product

MOST_CHANNELS = 4  # more are turned in blocks, or are columns enough by themselves


@dataclass(frozen=True, slots=True)
class Planes:
    """target[outer,pixels,channels], contiguous from pixel to pixel, of operands whose pixels follow each other.

    `steps` are each operand's elements from channel to channel; an operand that does not change from pixel to pixel has
    `column` 0, one with a vector of pixels 1.
    """

    outer: Dim
    pixels: Dim
    channels: int
    written: Operand
    operands: tuple[Operand, ...]
    steps: tuple[int, ...]

    @property
    def block(self) -> int:
        """Pixels of a chunk."""
        return CHUNK_WORK // (2 * MOST_CHANNELS)

    def count(self, e: Emitter) -> Int:
        """Chunks: blocks of pixels of everything outside."""
        return e.dim(self.outer) * chunks(e, self.pixels, self.block)


def find_planes(
    shape: Sequence[Dim], steps: Sequence[tuple[Dim, ...]], written: Operand, operands: Sequence[Operand]
) -> Planes | None:
    """The iteration over planes; None where it is none.  `steps` are those of the output and then of the operands."""
    if len(shape) < 2 or not isinstance(shape[-1], int) or not 1 < shape[-1] <= MOST_CHANNELS:
        return None
    along, across = steps[-2], [step for step in steps[-1] if isinstance(step, int)]
    columns = [step for step in along[1:] if step in (0, 1) and isinstance(step, int)]
    if len(across) != len(steps[-1]) or len(columns) != len(operands) or 1 not in columns:
        return None
    if (along[0], across[0]) != (shape[-1], 1):
        return None
    outside = [
        replace(operand, sizes=tuple(shape[:-2]), strides=tuple(step[n] for step in steps[:-2]), column=column)
        for n, (operand, column) in enumerate(zip((written, *operands), (1, *columns), strict=True))
    ]
    return Planes(product(shape[:-2]), shape[-2], shape[-1], outside[0], tuple(outside[1:]), tuple(across[1:]))


def emit_planes(chunk: Chunk, planes: Planes, expression: Expression) -> None:
    """One chunk: a block of pixels."""
    e = chunk.e
    blocks = chunks(e, planes.pixels, planes.block)
    outer, first = chunk.number // blocks, chunk.number % blocks * planes.block
    target = chunk.operands[0].at(planes.written.row_offset(e, outer))
    pairs = zip(chunk.operands[1:], planes.operands, strict=True)
    bases = [pointer.at(operand.row_offset(e, outer)) for pointer, operand in pairs]
    stop = (first + planes.block).min(e.dim(planes.pixels))
    whole = first + (stop - first) // e.lanes * e.lanes

    def channel(number: int, pixel: Int, mask: ir.Value | None) -> Vec:
        def load(n: int) -> Vec:
            loaded = planes.operands[n].load(e, bases[n].at(number * planes.steps[n]), pixel, mask)
            return as_f32(e, loaded, planes.operands[n].dtype) if expression.terms else loaded

        return expression.emit(e, [], load)

    def vector(pixel: Int, left: Int | None) -> None:
        mask = None if left is None else e.mask(left)
        made = [channel(number, pixel, mask) for number in range(planes.channels)]
        for n, mixed in enumerate(interleaved(e, made)):
            inside = None if left is None else e.mask((left * planes.channels - n * e.lanes).max(0))
            e.store(mixed, target, pixel * planes.channels + n * e.lanes, inside)

    with e.loop(whole, start=first, step=e.lanes) as loop:
        vector(loop.index, None)
    with e.when(whole < stop):
        vector(whole, stop - whole)


def interleaved(e: Emitter, vectors: Sequence[Vec]) -> list[Vec]:
    """As many vectors with the first lanes of all, then the second ones, and so on."""
    mixed = []
    for n in range(len(vectors)):
        places = [divmod(n * e.lanes + lane, len(vectors)) for lane in range(e.lanes)]
        result = vectors[0]
        for number, other in enumerate(vectors[1:], 1):
            there = range(e.lanes) if number > 1 else [lane for lane, _ in places]
            lanes = [e.lanes + lane if of == number else n for n, (lane, of) in zip(there, places, strict=True)]
            result = e.shuffle(result, other, lanes)
        mixed.append(result)
    return mixed
