"""Weights as levels, and what biases take back of their rounding: against the mean of what it does."""

import numpy as np
import pytest

from alula.core.dtype import DType
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.conv import Conv2d
from alula.ops.matmul import Linear
from alula.ops.reference import run_reference
from alula.quant.moments import Moments
from alula.quant.scheme import Scheme
from alula.quant.weights import Weight, coverage
from tests.quant.networks import N, normal


def test_levels_are_the_nearest_of_255() -> None:
    weight = normal(5, 3, 3, 4)
    found = Weight.of(Graph("test"), weight, "w", Scheme())
    levels = found.levels.data.astype(np.float64)
    assert np.abs(levels).max(axis=(1, 2, 3)).tolist() == [127] * 5
    assert np.abs(levels * found.steps[:, None, None, None] - weight).max() <= found.steps.max() / 2
    assert found.sums.tolist() == levels.sum(axis=(1, 2, 3)).tolist()
    np.testing.assert_allclose(
        found.lost.reshape(weight.shape), weight - levels * found.steps[:, None, None, None], atol=1e-9
    )
    assert len(set(Weight.of(Graph("test"), weight, "w", Scheme(weights="per-tensor")).steps)) == 1


def test_each_group_is_rounded_by_the_moments_of_its_own_channels() -> None:
    weight, random = normal(6, 3, 3, 4), np.random.default_rng(0)
    moments = Moments(random.standard_normal((8, 2)), np.full(8, 0.1))
    both = Weight.of(Graph("test"), weight, "w", Scheme(), moments)
    for group, own in enumerate(moments.split(2)):
        part = Weight.of(Graph("test"), weight[3 * group : 3 * group + 3], "w", Scheme(), own)
        assert part.levels.data.tolist() == both.levels.data[3 * group : 3 * group + 3].tolist()
        assert part.sums.tolist() == both.sums[3 * group : 3 * group + 3].tolist()
    nearest = Weight.of(Graph("test"), weight, "w", Scheme())
    assert both.levels.data.tolist() != nearest.levels.data.tolist()
    assert both.steps.tolist() == nearest.steps.tolist()
    np.testing.assert_allclose(
        both.lost.reshape(weight.shape), weight - both.levels.data * both.steps[:, None, None, None], atol=1e-7
    )


@pytest.mark.parametrize(
    "op",
    [
        Conv2d((2, 1), (1, 0, 1, 2)),
        Conv2d((1, 1), (2, 2, 2, 2), (2, 2)),
        Conv2d((1, 1), (1, 1, 1, 1), groups=2),
        None,
    ],
    ids=["strided", "dilated", "grouped", "linear"],
)
def test_the_correction_is_the_mean_of_what_rounding_does(op: Conv2d | None) -> None:
    graph = Graph("test", {"N": (1, 64)})
    groups = 1 if op is None else op.groups
    x = graph.input("x", TensorType(DType.F32, (N, 6, 5, 8)))
    weight = normal(6, 8) if op is None else normal(6, 3, 3, 8 // groups)
    node = graph.add_node(op or Linear(), x, graph.constant(weight))
    graph.output("y", node.output)
    found = Weight.of(graph, weight, "w", Scheme())
    rounded = weight - found.lost.reshape(weight.shape)
    mean = np.linspace(-1, 2, 8)
    even = np.broadcast_to(mean.astype(np.float32), (2, 6, 5, 8))
    (exact,) = run_reference(graph, [even])
    other = Graph("test", {"N": (1, 64)})
    y = other.input("x", TensorType(DType.F32, (N, 6, 5, 8)))
    other.output("y", other.add(op or Linear(), y, other.constant(rounded.astype(np.float32))))
    (off,) = run_reference(other, [even])
    np.testing.assert_allclose(found.correction(node, mean), (exact - off).mean(axis=(0, 1, 2)), atol=2e-5)


def test_places_of_a_kernel_that_meet_the_border() -> None:
    graph = Graph("test", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.F32, (N, 4, 4, 4)))
    node = graph.add_node(Conv2d(pad=(1, 1, 1, 1)), x, graph.constant(normal(4, 3, 3, 4)))
    np.testing.assert_allclose(coverage(node).reshape(3, 3), np.outer([0.75, 1, 0.75], [0.75, 1, 0.75]))
