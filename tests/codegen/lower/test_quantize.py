"""Quantisation lowered: rows of every length with a scale each, and one scale for all in a map kernel."""

import numpy as np
import pytest

from alula.core.errors import CodegenError
from alula.ops.elementwise import Neg
from alula.ops.quantize import Quantize, QuantizeRows
from alula.ops.shape import Slice, Transpose
from tests.codegen.harness import N, assert_equal, f32, graph_of, joined, random_array, run

WIDTHS = (1, 7, 8, 9, 15, 16, 17, 33, 384)


def rows(width, shape=None, view=None):
    """Bytes and scales of the rows of an input, or of a view of it."""
    graph = graph_of(view or Slice(0, 0, N), f32(*(shape or (N, 3, width))))
    ((_, value),) = graph.outputs
    graph.outputs = list(zip("qs", graph.add_node(QuantizeRows(), value).outputs, strict=True))
    return graph


def test_rows_of_every_width_are_bit_exact(every_target, compiled):
    """Zeros, rows of one sign, the largest at either end, and sizes from the least to the largest."""
    program = compiled(joined(*map(rows, WIDTHS)), every_target)
    inputs = [random_array(value.type, 5, n) for n, value in enumerate(program.graph.inputs)]
    for x in inputs:
        x[0, 0] = 0
        x[0, 1] = np.abs(x[0, 1])
        x[1] *= np.float32(1e-30)
        x[2] *= np.float32(1e30)
        x[3, 0, -1], x[3, 1, 0] = 50, -50
    assert_equal(run(program, inputs))
    assert program.labels == ["quantize_rows"] * len(WIDTHS)


def test_rows_of_views(target, compiled):
    result = run(
        compiled(joined(rows(20, (N, 3, 30), Slice(2, 4, 24)), rows(20, (N, 20, 5), Transpose((0, 2, 1)))), target)
    )
    assert_equal(result)
    assert sorted(result.compiled.labels) == ["quantize_rows", "quantize_rows", "transpose"]


def test_no_columns_and_columns_that_are_the_batch(target, compiled):
    assert_equal(run(compiled(rows(0), target)))
    graph = rows(0, (3, N), Slice(0, 1, 3))
    with pytest.raises(CodegenError, match=r"quantize_rows.*: expected a fixed row length, got N"):
        compiled(graph, target)


def test_one_scale_for_all(every_target, compiled):
    ops = [Quantize(0.03, zero) for zero in (0, 1, 128, 255)] + [Quantize(2.0**-100, 7), Quantize(2.0**100, 7)]
    program = compiled(
        joined(*(graph_of(op, f32(N, 3, width)) for op in ops for width in (1, 8, 17, 33))), every_target
    )
    inputs = [random_array(value.type, 5, n) for n, value in enumerate(program.graph.inputs)]
    for x in inputs:
        x[0, 0, 0], x[1, 0, 0], x[2, 0, 0], x[3, 0, 0] = np.nan, np.inf, -np.inf, 0.045
    assert_equal(run(program, inputs))
    assert program.labels == ["quantize"] * len(program.labels)


def test_after_elementwise_nodes(target, compiled):
    result = run(compiled(graph_of(Neg(), f32(N, 41), chain=[Quantize(0.02, 120)]), target))
    assert_equal(result)
    assert result.compiled.labels == ["neg+quantize"]
