"""Matmul of run-time operands lowered: tails, broadcasting, either operand transposed, epilogues."""

import numpy as np
import pytest

from alula.core.errors import CodegenError
from alula.ir.graph import Graph
from alula.ops.elementwise import Mul, Relu
from alula.ops.matmul import Matmul
from alula.ops.shape import Transpose
from tests.codegen.harness import N, assert_close, assert_summed, f32, graph_of, joined, random_array, run

SIZES = [
    (1, 1, 1),
    (5, 7, 15),
    (6, 16, 16),
    (7, 17, 17),
    (13, 3, 31),
    (14, 64, 32),
    (15, 8, 33),
    (200, 5, 65),
    (3, 0, 4),
]
BATCHES = [
    ((N, 3, 9), (9, 20)),
    ((3, 9), (N, 9, 20)),
    ((N, 4, 3, 9), (4, 9, 20)),
    ((N, 1, 3, 9), (1, 4, 9, 20)),
    ((4, 1, 3, 9), (N, 9, 20)),
    ((N, 9), (9, 20)),
]


def products(cases):
    """Matrix products of inputs of these shapes, in one graph."""
    return joined(*(graph_of(Matmul(), f32(*a), f32(*b)) for a, b in cases))


def test_sizes(target, compiled):
    cases = [((N, m, k), (N, k, n)) for m, k, n in SIZES]
    result = run(compiled(products(cases), target))
    assert_summed(result, lambda f: products(cases), terms=64)
    assert result.compiled.labels == ["matmul"] * len(cases)


def test_batches_broadcast(target, compiled):
    result = run(compiled(products(BATCHES), target))
    assert_summed(result, lambda f: products(BATCHES), terms=9)
    assert result.compiled.labels == ["matmul"] * len(BATCHES)


def scores(k, n):
    """q @ keys^T."""
    graph = Graph("scores", {"N": (1, 64)})
    q, keys = graph.input("q", f32(N, 20, k)), graph.input("k", f32(N, n, k))
    graph.output("y", graph.add(Matmul(), q, graph.add(Transpose((0, 2, 1)), keys)))
    return graph


def test_transposed_right_operand_is_turned_while_packing(target, compiled):
    def build(f):
        return joined(*(scores(*size) for size in ((1, 3), (8, 8), (15, 17), (16, 32), (17, 33), (64, 70))))

    result = run(compiled(build(np.abs), target))
    assert_summed(result, build, terms=64)
    assert result.compiled.labels == ["matmul"] * 6


def test_heads_are_read_where_they_lie(target, compiled):
    def build(f):
        graph = Graph("heads", {"N": (1, 64)})
        q, keys = (graph.add(Transpose((0, 2, 1, 3)), graph.input(name, f32(N, 9, 3, 16))) for name in "qk")
        graph.output("y", graph.add(Matmul(), q, graph.add(Transpose((0, 1, 3, 2)), keys)))
        return graph

    result = run(compiled(build(np.abs), target))
    assert_summed(result, build, terms=16)
    assert result.compiled.labels == ["matmul"]


def test_transposed_left_operand_is_copied(target, compiled):
    def build(f):
        graph = Graph("left", {"N": (1, 64)})
        a, b = graph.input("a", f32(N, 20, 18)), graph.constant(f(random_array(f32(20, 5), 1)))
        graph.output("y", graph.add(Matmul(), graph.add(Transpose((0, 2, 1)), a), b))
        return graph

    result = run(compiled(build(lambda x: x), target))
    assert_summed(result, build, terms=20)
    assert result.compiled.labels == ["transpose", "matmul"]


def test_epilogue_runs_on_the_tile(target, compiled):
    graph = Graph("epilogue", {"N": (1, 64)})
    value = graph.add(Matmul(), graph.input("a", f32(N, 2, 9, 20)), graph.input("b", f32(N, 2, 20, 37)))
    scale = graph.constant(random_array(f32(2, 1, 37), 1))
    graph.output("y", graph.add(Relu(), graph.add(Mul(), value, scale)))
    result = run(compiled(graph, target))
    assert_close(result, ulps=60, floor=8.0)
    assert result.compiled.labels == ["matmul+mul+relu"]


def test_no_rows_and_no_columns(target, compiled):
    for m, n in ((0, 4), (4, 0)):
        result = run(compiled(graph_of(Matmul(), f32(N, m, 3), f32(N, 3, n)), target))
        assert result.outputs[0].shape == (5, m, n)


def test_an_inner_size_that_is_the_batch_is_refused(target, compiled):
    with pytest.raises(CodegenError, match="matmul test:1: expected a fixed inner size, got N"):
        compiled(graph_of(Matmul(), f32(3, N), f32(N, 4)), target)
