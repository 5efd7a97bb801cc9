"""LayerNorm lowered: rows of every length, views, rows without variance."""

import numpy as np
import pytest

from alula.core.dtype import DType
from alula.ops.elementwise import Cast
from alula.ops.norm import LayerNorm
from alula.ops.quantize import Quantize, QuantizeRows
from alula.ops.shape import Slice, Transpose
from tests.codegen.harness import (
    N,
    assert_close,
    assert_narrowed,
    f32,
    graph_of,
    joined,
    random_array,
    run,
    same_bits,
)

WIDTHS = (1, 7, 8, 9, 15, 16, 17, 33, 384)


def norm(width, shape=None, before=()):
    """A layer norm, after views."""
    ops = [*before, LayerNorm(1e-5)]
    vectors = [random_array(f32(width), 1, n) for n in (1, 2)]
    graph = graph_of(ops[0], f32(*(shape or (N, 3, width))), *([] if before else vectors))
    if before:
        (_, value) = graph.outputs.pop()
        graph.output("y", graph.add(ops[-1], value, *map(graph.constant, vectors)))
    return graph


def test_every_width(target, compiled):
    result = run(compiled(joined(*map(norm, WIDTHS)), target))
    assert_close(result, ulps=40, floor=4.0)
    assert result.compiled.labels == ["layer_norm"] * len(WIDTHS)


def test_views(target, compiled):
    graphs = [norm(20, (N, 20, 5), [Transpose((0, 2, 1))]), norm(20, (N, 3, 30), [Slice(2, 4, 24)])]
    result = run(compiled(joined(*graphs), target))
    assert_close(result, ulps=20, floor=4.0)
    assert result.compiled.labels == ["transpose", "layer_norm", "layer_norm"]


@pytest.mark.parametrize("op", [Cast(DType.BF16), Quantize(0.03, 100)], ids=lambda op: op.name)
def test_rows_are_narrowed_as_they_are_written(op, every_target, compiled):
    graphs = [norm(width) for width in WIDTHS]
    for graph in graphs:
        ((_, value),) = graph.outputs
        graph.outputs = [("y", graph.add(op, value))]
    result = run(compiled(joined(*graphs), every_target))
    assert_narrowed(result, share=0.02)
    assert result.compiled.labels == [f"layer_norm+{op.name}"] * len(WIDTHS)


def test_rows_are_quantised_as_they_are_written(every_target, compiled):
    """Exactly as in two steps: the row that is quantised is the one that would be written."""
    graphs = [norm(width) for width in WIDTHS]
    for graph in graphs:
        ((_, value),) = graph.outputs
        graph.outputs = list(zip("qsz", graph.add_node(QuantizeRows(), value).outputs, strict=True))
    result = run(compiled(joined(*graphs), every_target))
    assert result.compiled.labels == ["layer_norm+quantize_rows"] * len(WIDTHS)
    plain = run(compiled(joined(*map(norm, WIDTHS)), every_target), result.inputs)
    for row, *ours in zip(plain.outputs, *(result.outputs[n::3] for n in range(3)), strict=True):
        same_bits(ours, QuantizeRows().reference(row))


def test_a_row_that_others_take_too_is_written(every_target, compiled):
    graph = norm(33)
    value = graph.outputs[0][1]
    graph.outputs += list(zip("qsz", graph.add_node(QuantizeRows(), value).outputs, strict=True))
    program = compiled(graph, every_target)
    result = run(program)
    assert program.labels == ["layer_norm", "quantize_rows"]
    same_bits(result.outputs[1:], QuantizeRows().reference(result.outputs[0]))


def test_large_means_do_not_drown_the_variance(target, compiled):
    x = (1000 + random_array(f32(5, 3, 100), 5)).astype(np.float32)
    assert_close(run(compiled(norm(100), target), [x]), ulps=4000, floor=1.0)


def test_constant_rows_give_beta(target, compiled):
    result = run(compiled(norm(33), target), [np.full((5, 3, 33), 2.0, np.float32)])
    assert np.array_equal(result.outputs[0], np.broadcast_to(random_array(f32(33), 1, 2), (5, 3, 33)))
