"""Rows of float32 as bytes with a scale and a zero of their own."""

from __future__ import annotations

from collections.abc import Sequence

from alula.codegen.groups import Group
from alula.codegen.kernels import math
from alula.codegen.kernels.narrow import to_bytes
from alula.codegen.kernels.rows import (
    Piece,
    each_row,
    fold_row,
    groups_of_rows,
    joined,
    load_rows,
    parts,
    store_parts,
)
from alula.codegen.lower.sharing import chunks, ends_of, rows_a_chunk
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.vector import Emitter, Ptr, Vec
from alula.ir.types import fixed
from alula.ops.quantize import LARGEST_BYTE, QuantizeRows


@lowers(QuantizeRows)
def lower_quantize_rows(state: Lowering, group: Group) -> None:
    """Two passes over each row; where a LayerNorm made it, they are part of its kernel instead."""
    node = group.anchor
    (x,) = node.inputs
    source = state.with_rows(x)
    rows, stride = source.rows() or (1, 0)
    count = fixed(x.type.shape[-1], "row length")
    q, scales, zeros = (state.output(value) for value in node.outputs)
    block, views = rows_a_chunk(count * 2, state.target.chains), [source, q, scales, zeros]

    def body(chunk: Chunk) -> None:
        e, (given, bytes, *ones) = chunk.e, chunk.operands
        with groups_of_rows(e, *ends_of(chunk, rows, block)) as some:
            sources, targets = ([p.at(row * step) for row in some] for p, step in ((given, stride), (bytes, count)))
            quantize_rows(e, sources, targets, [[one.at(row) for one in ones] for row in some], count)

    kernel = state.kernel("quantize_rows", (rows, stride, count), views, body)
    state.step(kernel, views, q, lambda e: chunks(e, rows, block), node.op.name)


def quantize_rows(
    e: Emitter, sources: Sequence[Ptr], targets: Sequence[Ptr], ones: Sequence[Sequence[Ptr]], count: int
) -> None:
    """targets[count] = rows as bytes; to `ones` of each, what a step is worth and the byte that stands for 0."""
    for values, places in zip(bytes_of_rows(e, sources, targets, count), ones, strict=True):
        for value, place in zip(values, places, strict=True):
            e.b.store(e.lane(value, 0), place.value, align=4)


def bytes_of_rows(e: Emitter, sources: Sequence[Ptr], targets: Sequence[Ptr], count: int) -> list[tuple[Vec, Vec]]:
    """targets[count] = rows as bytes; scale and zero of each, in every lane."""
    half = parts(e) * len(sources)

    def further(piece: Piece, ends: Sequence[Vec]) -> list[Vec]:
        values = [value for row in load_rows(e, sources, piece) for value in row]
        lows = [e.min(value, end) for value, end in zip(values, ends[:half], strict=True)]
        return lows + [e.max(value, end) for value, end in zip(values, ends[half:], strict=True)]

    ends, rows = fold_row(e, count, [e.constant(0.0)] * (2 * half), further), len(sources)
    low, high = joined(e, ends[:half], rows, e.min), joined(e, ends[half:], rows, e.max)
    span = high - low
    factor = e.choose(">", span, 0.0, float(LARGEST_BYTE) / span, 0.0)
    shifter = e.fma(-low, factor, math.SHIFTER)
    factors, shifters = (each_row(e, numbers, rows) for numbers in (factor, shifter))

    def levels(piece: Piece, none: Sequence[Vec]) -> list[Vec]:
        loaded = load_rows(e, sources, piece)
        for row, target, factor, shifter in zip(loaded, targets, factors, shifters, strict=True):
            store_parts(e, [to_bytes(e, value, factor, shifter) for value in row], target, piece)
        return []

    fold_row(e, count, [], levels)
    found = (each_row(e, numbers, rows) for numbers in (span * (1 / LARGEST_BYTE), shifter - math.SHIFTER))
    return list(zip(*found, strict=True))
