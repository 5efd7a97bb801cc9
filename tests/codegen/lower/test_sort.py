"""TopK lowered: every number type, few leaders and all, equal elements, NaN."""

import numpy as np
import pytest

from alula.core.dtype import DType
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.shape import Transpose
from alula.ops.sort import TopK
from tests.codegen.harness import N, assert_equal, f32, run


def both(op, type, transposed=False):
    """A graph whose outputs are the values and the places."""
    graph = Graph("top", {"N": (1, 64)})
    x = graph.input("x", type)
    node = graph.add_node(op, graph.add(Transpose((0, 2, 1)), x) if transposed else x)
    for name, value in zip(("values", "places"), node.outputs, strict=True):
        graph.output(name, value)
    return graph


@pytest.mark.parametrize("dtype", [DType.F32, DType.F64, DType.I64, DType.I8, DType.U8, DType.U32], ids=str)
@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("k", [1, 5, 33])
def test_leaders(k, largest, dtype, target, compiled):
    result = run(compiled(both(TopK(k, largest), TensorType(dtype, (N, 3, 33))), target))
    assert_equal(result)
    assert result.compiled.labels == ["top_k"]


@pytest.mark.parametrize("largest", [True, False])
def test_equal_elements_and_nan(largest, target, compiled):
    x = np.random.default_rng(0).integers(-3, 3, (6, 40)).astype(np.float32)
    x[0, 3], x[1, ::7], x[2] = np.nan, np.inf, -np.inf
    assert_equal(run(compiled(both(TopK(12, largest), f32(N, 40)), target), [x]))


def test_views(target, compiled):
    assert_equal(run(compiled(both(TopK(2), f32(N, 6, 5), transposed=True), target)))
