"""LayerNorm: rows in three passes over the cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import add

from alula.codegen.expression import Expression
from alula.codegen.groups import Group
from alula.codegen.kernels import math
from alula.codegen.kernels.rows import (
    Piece,
    each_row,
    fold_row,
    groups_of_rows,
    inside,
    joined,
    load_parts,
    load_rows,
    parts,
    store_parts,
)
from alula.codegen.lower.builder import Builder, narrow, narrowing
from alula.codegen.lower.quantize import quantize_rows
from alula.codegen.lower.sharing import chunks, ends_of, rows_a_chunk
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
    block = rows_a_chunk(count * 2, state.target.chains)
    if by_rows:
        state.scratch(count * state.target.chains)
    numbers = builder.parameters
    kernel = state.kernel("layer_norm", shape, views, lambda chunk: emit_layer_norm(chunk, shape, block), len(numbers))
    label = "+".join(other.op.name for other in group.nodes)
    state.step(kernel, views, outputs[0], lambda e: chunks(e, rows, block), label, parameters=numbers)


def emit_layer_norm(chunk: Chunk, shape: Shape, block: int) -> None:
    """One chunk: `block` rows, some of them side by side."""
    e, (x, gamma, beta, y, *scales), count = chunk.e, chunk.operands, shape.count
    with groups_of_rows(e, *ends_of(chunk, shape.rows, block)) as rows:
        zeros = [e.constant(0.0)] * (parts(e) * len(rows))
        sources, targets = [x.at(row * shape.stride) for row in rows], [y.at(row * count) for row in rows]

        def mean_of(sums: Sequence[Vec]) -> Vec:
            return joined(e, sums, len(rows), add) * (1 / count)

        def total(piece: Piece, sums: Sequence[Vec]) -> list[Vec]:
            values = [value for row in load_rows(e, sources, piece) for value in row]
            return [a + b for a, b in zip(sums, values, strict=True)]

        means = each_row(e, mean_of(fold_row(e, count, zeros, total)), len(rows))

        def centred(piece: Piece) -> list[list[Vec]]:
            loaded = load_rows(e, sources, piece)
            return [[value - mean for value in row] for row, mean in zip(loaded, means, strict=True)]

        def squares(piece: Piece, sums: Sequence[Vec]) -> list[Vec]:
            values = [value for row in centred(piece) for value in inside(e, row, piece, 0.0)]
            return [e.fma(value, value, s) for value, s in zip(values, sums, strict=True)]

        variances = mean_of(fold_row(e, count, zeros, squares))
        factors = each_row(e, math.rsqrt(e, variances + shape.eps), len(rows))
        normalised = [chunk.scratch.at(n * count) for n in range(len(rows))] if scales else targets

        def normalise(piece: Piece, none: Sequence[Vec]) -> list[Vec]:
            scale, shift = (load_parts(e, row, piece) for row in (gamma, beta))
            for row, factor, target in zip(centred(piece), factors, normalised, strict=True):
                values = [e.fma(value * factor, g, b) for value, g, b in zip(row, scale, shift, strict=True)]
                store_parts(e, [narrow(e, shape.narrowing, value) for value in values], target, piece)
            return []

        fold_row(e, count, [], normalise)
        if scales:
            quantize_rows(e, normalised, targets, [[one.at(row) for one in scales] for row in rows], count)
