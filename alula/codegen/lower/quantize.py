"""Rows of float32 as bytes with a scale of their own."""

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
from alula.ops.quantize import MIDDLE, STEPS, QuantizeRows


@lowers(QuantizeRows)
def lower_quantize_rows(state: Lowering, group: Group) -> None:
    """Two passes over each row; where a LayerNorm made it, they are part of its kernel instead."""
    node = group.anchor
    (x,) = node.inputs
    source = state.with_rows(x)
    rows, stride = source.rows() or (1, 0)
    count = fixed(x.type.shape[-1], "row length")
    q, scales = (state.output(value) for value in node.outputs)
    block, views = rows_a_chunk(count * 2), [source, q, scales]

    def body(chunk: Chunk) -> None:
        given, bytes, factors = chunk.operands
        with rows_of(chunk, rows, block) as row:
            quantize_row(chunk.e, given.at(row * stride), bytes.at(row * count), factors.at(row), count)

    kernel = state.kernel("quantize_rows", (rows, stride, count), views, body)
    state.step(kernel, views, q, lambda e: chunks(e, rows, block), node.op.name)


def quantize_row(e: Emitter, source: Ptr, target: Ptr, scale: Ptr, count: int) -> None:
    """target[count] = the row as bytes around 128; scale[0] = what one step of them is worth."""

    def larger(piece: Piece, most: Sequence[Vec]) -> list[Vec]:
        sizes = [e.unary("fabs", value) for value in load_parts(e, source, piece)]
        return [e.max(size, best) for size, best in zip(sizes, most, strict=True)]

    largest = e.spread(math.tree_max(e, fold_row(e, count, [e.constant(0.0)] * parts(e), larger)))
    factor = e.choose(">", largest, 0.0, float(STEPS) / largest, 0.0)
    middle = e.constant(math.SHIFTER + MIDDLE)

    def bytes_of(piece: Piece, none: Sequence[Vec]) -> list[Vec]:
        values = load_parts(e, source, piece)
        store_parts(e, [to_bytes(e, value, factor, middle) for value in values], target, piece)
        return []

    fold_row(e, count, [], bytes_of)
    e.b.store(e.lane(largest * (1 / STEPS), 0), scale.value, align=4)
