"""Scattering lowered: every element type, reductions, axes at both ends, indices twice, below 0 and outside."""

import numpy as np
import pytest

from alula.core.dtype import DType
from alula.ir.types import TensorType
from alula.ops.gather import Scatter
from alula.ops.shape import Transpose
from tests.codegen.harness import N, assert_equal, f32, graph_of, joined, run

PLACES = np.array([[4, 0, -1], [-5, 4, 7]], np.int64)


@pytest.mark.parametrize("dtype", [DType.F32, DType.U8, DType.BF16, DType.I64, DType.BOOL], ids=str)
def test_updates_take_places(dtype, target, compiled):
    graphs = [
        graph_of(Scatter(axis), TensorType(dtype, (N, 5, 5, 67)), PLACES.astype(kind), TensorType(dtype, updates))
        for axis, updates in ((1, (N, 2, 3, 5, 67)), (2, (N, 5, 2, 3, 67)))
        for kind in (np.int32, np.int64)
    ]
    graphs.append(graph_of(Scatter(2), TensorType(dtype, (N, 3, 5)), PLACES, TensorType(dtype, (N, 3, 2, 3))))
    result = run(compiled(joined(*graphs), target))
    assert_equal(result)
    assert result.compiled.labels.count("scatter") == 5


@pytest.mark.parametrize("reduction", ["add", "mul", "max", "min"])
def test_reductions(reduction, target, compiled):
    graphs = [
        graph_of(Scatter(1, 0, reduction), TensorType(dtype, (N, 5, 19)), PLACES, TensorType(dtype, (N, 2, 3, 19)))
        for dtype in (DType.F32, DType.F64, DType.I32, DType.U8)
    ]
    assert_equal(run(compiled(joined(*graphs), target)))


def test_indices_of_each_image(target, compiled):
    graph = graph_of(Scatter(1, 1), f32(N, 5, 3), TensorType(DType.I64, (N, 4)), f32(N, 4, 3))
    random = np.random.default_rng(1)
    x, updates = (random.standard_normal(shape).astype(np.float32) for shape in ((6, 5, 3), (6, 4, 3)))
    assert_equal(run(compiled(graph, target), [x, random.integers(-7, 7, (6, 4)), updates]))


def test_along_the_batch_and_views(target, compiled):
    graph = graph_of(Transpose((1, 0, 2)), f32(4, N, 3), chain=[])
    value = graph.outputs[0][1]
    updates = graph.constant(np.ones((2, 4, 3), np.float32))
    graph.output("scattered", graph.add(Scatter(0), value, graph.constant(np.array([0, 900])), updates))
    assert_equal(run(compiled(graph, target)))
