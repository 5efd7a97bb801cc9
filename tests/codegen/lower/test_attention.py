"""Attention lowered without its matrix of scores: tails of queries, keys and columns, large scores."""

import numpy as np
import pytest

from alula.ops.attention import Attention
from alula.ops.shape import Slice
from tests.codegen.harness import N, assert_close, f32, graph_of, joined, random_array, run

SIZES = [  # heads, queries, keys, columns of q and k, columns of v
    (1, 1, 1, 1, 1),
    (3, 5, 17, 8, 8),
    (2, 6, 16, 16, 16),
    (2, 14, 33, 32, 32),
    (4, 15, 31, 7, 9),
    (1, 29, 65, 33, 17),
    (12, 1, 197, 32, 32),
]


def attention(heads, n, m, d, v):
    return graph_of(Attention(heads, d**-0.5), f32(N, n, heads * d), f32(N, m, heads * d), f32(N, m, heads * v))


def test_sizes(target, compiled):
    result = run(compiled(joined(*(attention(*size) for size in SIZES)), target))
    assert_close(result, ulps=30, floor=1.0)
    assert result.compiled.labels == ["attention"] * len(SIZES)


@pytest.mark.parametrize("factor", [30.0, 3000.0])
def test_large_scores_do_not_overflow(factor, target, compiled):
    program = compiled(attention(2, 7, 20, 16, 16), target)
    q, k, v = (random_array(value.type, 5, n) for n, value in enumerate(program.graph.inputs))
    result = run(program, [(q * factor).astype(np.float32), k, v])
    assert np.isfinite(result.outputs[0]).all()
    assert_close(result, ulps=4 * factor, floor=1.0)


def test_parts_of_one_projection_are_read_where_they_lie(target, compiled):
    from alula.ir.graph import Graph

    graph = Graph("parts", {"N": (1, 64)})
    x = graph.input("qkv", f32(N, 9, 96))
    graph.output("y", graph.add(Attention(2, 0.25), *(graph.add(Slice(2, s, s + 32), x) for s in (0, 32, 64))))
    result = run(compiled(graph, target))
    assert_close(result, ulps=30, floor=1.0)
    assert result.compiled.labels == ["attention"]
