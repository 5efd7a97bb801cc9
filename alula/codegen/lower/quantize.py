"""Rows of float32 as bytes with a scale and a zero of their own."""

from __future__ import annotations

from collections.abc import Sequence

from alula.codegen.groups import Group
from alula.codegen.kernels import math
from alula.codegen.kernels.narrow import to_bytes
from alula.codegen.kernels.rows import Piece, fold_row, load_parts, parts, store_parts
from alula.codegen.lower.sharing import chunks, rows_a_chunk, rows_of
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
    block, views = rows_a_chunk(count * 2), [source, q, scales, zeros]

    def body(chunk: Chunk) -> None:
        e, (given, bytes, *ones) = chunk.e, chunk.operands
        with rows_of(chunk, rows, block) as row:
            quantize_row(e, given.at(row * stride), bytes.at(row * count), [one.at(row) for one in ones], count)

    kernel = state.kernel("quantize_rows", (rows, stride, count), views, body)
    state.step(kernel, views, q, lambda e: chunks(e, rows, block), node.op.name)


def quantize_row(e: Emitter, source: Ptr, target: Ptr, ones: Sequence[Ptr], count: int) -> None:
    """target[count] = the row as bytes; to `ones`, what a step of them is worth, and the byte that stands for 0."""
    for value, place in zip(bytes_of_row(e, source, target, count), ones, strict=True):
        e.b.store(e.lane(value, 0), place.value, align=4)


def bytes_of_row(e: Emitter, source: Ptr, target: Ptr, count: int) -> tuple[Vec, Vec]:
    """target[count] = the row as bytes; their scale and zero, in every lane."""
    half = parts(e)

    def further(piece: Piece, ends: Sequence[Vec]) -> list[Vec]:
        values = load_parts(e, source, piece)
        lows = [e.min(value, end) for value, end in zip(values, ends[:half], strict=True)]
        return lows + [e.max(value, end) for value, end in zip(values, ends[half:], strict=True)]

    ends = fold_row(e, count, [e.constant(0.0)] * (2 * half), further)
    low = -e.spread(math.tree_max(e, [-end for end in ends[:half]]))
    span = e.spread(math.tree_max(e, ends[half:])) - low
    factor = e.choose(">", span, 0.0, float(LARGEST_BYTE) / span, 0.0)
    shifter = e.fma(-low, factor, math.SHIFTER)

    def levels(piece: Piece, none: Sequence[Vec]) -> list[Vec]:
        values = [to_bytes(e, value, factor, shifter) for value in load_parts(e, source, piece)]
        store_parts(e, values, target, piece)
        return []

    fold_row(e, count, [], levels)
    return span * (1 / LARGEST_BYTE), shifter - math.SHIFTER
