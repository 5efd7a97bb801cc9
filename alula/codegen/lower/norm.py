"""LayerNorm: each row in three passes over the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from alula.codegen.expression import Expression
from alula.codegen.groups import Group
from alula.codegen.kernels import math
from alula.codegen.kernels.rows import Piece, fold_row, inside, load_parts, parts, store_parts
from alula.codegen.lower.builder import Builder, narrow, narrowing
from alula.codegen.lower.quantize import quantize_row
from alula.codegen.lower.sharing import chunks, rows_a_chunk, rows_of
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.vector import Vec
from alula.core.dims import Dim
from alula.ir.types import fixed
from alula.ops.norm import LayerNorm
from alula.ops.quantize import QuantizeRows


@dataclass(frozen=True, slots=True)
class Shape:
    """Everything that is fixed in the code: rows `stride` elements apart, of `count` columns; what is written."""

    rows: Dim
    stride: int
    count: int
    eps: float
    narrowing: Expression


@lowers(LayerNorm)
def lower_layer_norm(state: Lowering, group: Group) -> None:
    """(x - mean) / sqrt(variance + eps) * gamma + beta over the last axis, narrowed or quantised as it is written."""
    node = group.anchor
    x, gamma, beta = node.inputs
    source = state.with_rows(x)
    rows, stride = source.rows() or (1, 0)
    last = group.nodes[-1]
    by_rows = isinstance(last.op, QuantizeRows)
    outputs = [state.output(value) for value in last.outputs]
    count = fixed(x.type.shape[-1], "row length")
    views = [source, state.contiguous(gamma), state.contiguous(beta), *outputs]
    eps = node.op.eps  # type: ignore[attr-defined]
    builder = Builder(state, seeds=1) if by_rows else narrowing(state, group)
    shape = Shape(rows, stride, count, eps, builder.expression(()))
    block = rows_a_chunk(count * 2)
    if by_rows:
        state.scratch(count)
    numbers = builder.parameters
    kernel = state.kernel("layer_norm", shape, views, lambda chunk: emit_layer_norm(chunk, shape, block), len(numbers))
    label = "+".join(other.op.name for other in group.nodes)
    state.step(kernel, views, outputs[0], lambda e: chunks(e, rows, block), label, parameters=numbers)


def emit_layer_norm(chunk: Chunk, shape: Shape, block: int) -> None:
    """One chunk: `block` rows."""
    e, (x, gamma, beta, y, *scales), count = chunk.e, chunk.operands, shape.count
    zeros = [e.constant(0.0)] * parts(e)
    with rows_of(chunk, shape.rows, block) as row:
        source, target = x.at(row * shape.stride), y.at(row * count)

        def total(piece: Piece, sums: Sequence[Vec]) -> list[Vec]:
            return [a + b for a, b in zip(sums, load_parts(e, source, piece), strict=True)]

        mean = e.spread(math.tree_add(e, fold_row(e, count, zeros, total))) * (1 / count)

        def squares(piece: Piece, sums: Sequence[Vec]) -> list[Vec]:
            centred = inside(e, [v - mean for v in load_parts(e, source, piece)], piece, 0.0)
            return [e.fma(v, v, s) for v, s in zip(centred, sums, strict=True)]

        variance = e.spread(math.tree_add(e, fold_row(e, count, zeros, squares))) * (1 / count)
        factor = math.rsqrt(e, variance + shape.eps)
        normalised = chunk.scratch if scales else target

        def normalise(piece: Piece, none: Sequence[Vec]) -> list[Vec]:
            rows = zip(*(load_parts(e, row, piece) for row in (source, gamma, beta)), strict=True)
            values = [e.fma((v - mean) * factor, g, b) for v, g, b in rows]
            store_parts(e, [narrow(e, shape.narrowing, value) for value in values], normalised, piece)
            return []

        fold_row(e, count, [], normalise)
        if scales:
            quantize_row(e, normalised, target, [one.at(row) for one in scales], count)
