import numpy as np
import pytest

from alula.core.dtype import DType
from alula.ops.elementwise import Cast, Clip, LeakyRelu, Mul, Neg, Relu
from alula.ops.quantize import Quantize
from alula.passes.absorb_bounds import AbsorbBounds
from tests.passes.graphs import Builder, N, changed, counts

LEVELS = Quantize(0.01, 0)
INF = float("inf")


def test_bytes_from_0_on_need_no_bound() -> None:
    b = Builder((N, 6))
    graph = b.finish(b(LEVELS, b(Relu(), b.inputs[0])))
    assert changed(graph, AbsorbBounds()) == 1
    assert graph.outputs[0][1].producer.inputs == (b.inputs[0],)


def test_one_bound_after_the_other() -> None:
    b = Builder((N, 6))
    graph = b.finish(b(LEVELS, b(Relu(), b(Relu(), b(Neg(), b.inputs[0])))))
    assert changed(graph, AbsorbBounds()) == 2
    assert graph.outputs[0][1].producer.inputs[0].producer.op == Neg()


@pytest.mark.parametrize("zero", [1, 128, 255])
def test_bytes_that_reach_below_0_keep_it(zero: int) -> None:
    b = Builder((N, 6))
    assert changed(b.finish(b(Quantize(0.01, zero), b(Relu(), b.inputs[0]))), AbsorbBounds()) == 0


def test_a_bound_that_others_want_stays() -> None:
    b = Builder((N, 6))
    x = b(Relu(), b.inputs[0])
    assert changed(b.finish(b(LEVELS, x), b(Neg(), x)), AbsorbBounds()) == 0
    b = Builder((N, 6))
    x = b(Relu(), b.inputs[0])
    assert changed(b.finish(b(LEVELS, x), x), AbsorbBounds()) == 0


def test_other_ops_stay() -> None:
    b = Builder((N, 6))
    x = b.inputs[0]
    graph = b.finish(b(LEVELS, b(LeakyRelu(0.1), x)), b(Cast(DType.BF16), b(Relu(), x)), b(LEVELS, x))
    assert changed(graph, AbsorbBounds()) == 0
    assert counts(graph) == {"cast": 1, "leaky_relu": 1, "quantize": 2, "relu": 1}


@pytest.mark.parametrize(
    ("low", "high", "zero", "left"),
    [
        (0, 2.55, 0, None),
        (-1, 2.55, 0, None),
        (0, 2.5, 0, Clip(-INF, 2.5)),
        (0.01, 2.55, 0, Clip(0.01, INF)),
        (0, 2.55, 10, Clip(0, INF)),
        (-0.1, 2.45, 10, None),
        (-0.05, 2.4, 10, Clip(-0.05, 2.4)),
        (-INF, INF, 10, None),
    ],
)
def test_bounds_of_a_clip(low: float, high: float, zero: int, left: Clip | None) -> None:
    b = Builder((N, 600))
    graph = b.finish(b(Quantize(0.01, zero), b(Clip(low, high), b.inputs[0])))
    changed(graph, AbsorbBounds())
    assert [node.op for node in graph.nodes] == [*([left] if left else []), Quantize(0.01, zero)]


@pytest.mark.parametrize(("least", "left"), [(1.0, None), (0.9, Clip(-INF, 2.55))])
def test_bounds_before_a_product_with_positive_constants(least: float, left: Clip | None) -> None:
    b = Builder((N, 3))
    factors = b.graph.constant(np.array([2.0, 1.5, least], np.float32))
    graph = b.finish(b(LEVELS, b(Mul(), factors, b(Clip(0, 2.55), b.inputs[0]))))
    assert changed(graph, AbsorbBounds()) == 1
    assert [node.op for node in graph.nodes] == [*([left] if left else []), Mul(), LEVELS]


def test_bounds_before_other_products_stay() -> None:
    b = Builder((N, 3), (N, 3))
    mixed = b.graph.constant(np.array([2.0, -1.5, 1.0], np.float32))
    x, y = (b(Mul(), b(Clip(0, 2.55), b.inputs[0]), factor) for factor in (mixed, b.inputs[1]))
    shared = b(Mul(), b(Relu(), b.inputs[1]), b.constant(3, low=0.5))
    graph = b.finish(b(LEVELS, x), b(LEVELS, y), b(LEVELS, shared), b(Neg(), shared))
    assert changed(graph, AbsorbBounds()) == 0
