"""LayerNorm lowered: rows of every length, views, rows without variance."""

import numpy as np

from alula.ops.norm import LayerNorm
from alula.ops.shape import Slice, Transpose
from tests.codegen.harness import N, assert_close, f32, graph_of, joined, random_array, run

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


def test_large_means_do_not_drown_the_variance(target, compiled):
    x = (1000 + random_array(f32(5, 3, 100), 5)).astype(np.float32)
    assert_close(run(compiled(norm(100), target), [x]), ulps=4000, floor=1.0)


def test_constant_rows_give_beta(target, compiled):
    result = run(compiled(norm(33), target), [np.full((5, 3, 33), 2.0, np.float32)])
    assert np.array_equal(result.outputs[0], np.broadcast_to(random_array(f32(33), 1, 2), (5, 3, 33)))
