"""LayerNorm: each row in three passes over the cache."""

from __future__ import annotations

from collections.abc import Sequence

from alula.codegen.groups import Group
from alula.codegen.kernels import math
from alula.codegen.kernels.rows import Piece, fold_row, inside, load_parts, parts, store_parts
from alula.codegen.lower.sharing import chunks, rows_a_chunk, rows_of
from alula.codegen.lowering import Chunk, Lowering, lowers
from alula.codegen.vector import Vec
from alula.core.dims import Dim
from alula.ir.types import fixed
from alula.ops.norm import LayerNorm


@lowers(LayerNorm)
def lower_layer_norm(state: Lowering, group: Group) -> None:
    """(x - mean) / sqrt(variance + eps) * gamma + beta over the last axis."""
    node = group.anchor
    x, gamma, beta = node.inputs
    source = state.with_rows(x)
    rows, stride = source.rows() or (1, 0)
    output = state.output(node.output)
    count = fixed(x.type.shape[-1], "row length")
    views = [source, state.contiguous(gamma), state.contiguous(beta), output]
    eps = node.op.eps  # type: ignore[attr-defined]
    block = rows_a_chunk(count * 2)
    kernel = state.kernel(
        "layer_norm",
        (rows, stride, count, eps),
        views,
        lambda chunk: emit_layer_norm(chunk, rows, stride, count, eps, block),
    )
    state.step(kernel, views, output, lambda e: chunks(e, rows, block), "layer_norm")


def emit_layer_norm(chunk: Chunk, rows: Dim, stride: int, count: int, eps: float, block: int) -> None:
    """One chunk: `block` rows."""
    e, (x, gamma, beta, y) = chunk.e, chunk.operands
    zeros = [e.constant(0.0)] * parts(e)
    with rows_of(chunk, rows, block) as row:
        source, target = x.at(row * stride), y.at(row * count)

        def total(piece: Piece, sums: Sequence[Vec]) -> list[Vec]:
            return [a + b for a, b in zip(sums, load_parts(e, source, piece), strict=True)]

        mean = e.spread(math.tree_add(e, fold_row(e, count, zeros, total))) * (1 / count)

        def squares(piece: Piece, sums: Sequence[Vec]) -> list[Vec]:
            centred = inside(e, [v - mean for v in load_parts(e, source, piece)], piece, 0.0)
            return [e.fma(v, v, s) for v, s in zip(centred, sums, strict=True)]

        variance = e.spread(math.tree_add(e, fold_row(e, count, zeros, squares))) * (1 / count)
        factor = math.rsqrt(e, variance + eps)

        def normalise(piece: Piece, none: Sequence[Vec]) -> list[Vec]:
            rows = zip(*(load_parts(e, row, piece) for row in (source, gamma, beta)), strict=True)
            store_parts(e, [e.fma((v - mean) * factor, g, b) for v, g, b in rows], target, piece)
            return []

        fold_row(e, count, [], normalise)
