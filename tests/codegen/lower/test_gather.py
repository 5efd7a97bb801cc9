"""Gather lowered: every element type, axes at both ends, indices below 0 and outside, batched indices."""

import numpy as np
import pytest

from alula.core.dtype import DType
from alula.ir.types import TensorType
from alula.ops.gather import Gather
from alula.ops.shape import Transpose
from tests.codegen.harness import N, assert_equal, f32, graph_of, joined, run

PLACES = np.array([[4, 0, -1], [-5, 2, 2]], np.int64)


@pytest.mark.parametrize("dtype", [DType.F32, DType.U8, DType.BF16, DType.I64, DType.BOOL], ids=str)
def test_gather_moves_every_bit(dtype, target, compiled):
    graphs = [
        graph_of(Gather(axis), TensorType(dtype, (N, 5, 5, 17)), PLACES.astype(kind))
        for axis in (1, 2, 3)
        for kind in (np.int32, np.int64)
    ]
    result = run(compiled(joined(*graphs), target))
    assert_equal(result)
    assert result.compiled.labels == ["gather"] * 6


def test_indices_of_a_run(target, compiled):
    graphs = [
        graph_of(Gather(0), np.random.default_rng(0).standard_normal((7, 19)).astype(np.float32), indices)
        for indices in (TensorType(DType.I64, (N, 3)), TensorType(DType.I32, (N,)))
    ]
    random = np.random.default_rng(1)
    inputs = [random.integers(-9, 9, shape).astype(kind) for shape, kind in (((5, 3), np.int64), ((5,), np.int32))]
    assert_equal(run(compiled(joined(*graphs), target), inputs))


def test_along_the_batch(target, compiled):
    assert_equal(run(compiled(graph_of(Gather(0), f32(N, 3), np.array([-1, 0, 900])), target)))


def test_views(target, compiled):
    graph = graph_of(Transpose((0, 2, 1)), f32(N, 6, 5), chain=[])
    value = graph.outputs[0][1]
    graph.output("taken", graph.add(Gather(1), value, graph.constant(np.array([3, 1]))))
    assert_equal(run(compiled(graph, target)))
