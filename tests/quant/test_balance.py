"""Channels balanced before they become bytes: the same function, less noise, and where it is not done."""

import numpy as np
import pytest

from alula.core.dtype import Array, DType
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.conv import Conv2d
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.elementwise import Add, Clip, Gelu, Mul, Relu
from alula.ops.matmul import Linear
from alula.ops.norm import LayerNorm
from alula.ops.reference import run_reference
from alula.ops.shape import Slice, Transpose
from alula.passes.remove_dead_code import RemoveDeadCode
from alula.quant.balance import OF_RANGES, balance, balanced, predicted_error, products_of
from alula.quant.calibrate import calibrate
from alula.quant.int8 import use_int8
from alula.quant.observed import Observed
from alula.quant.scheme import Scheme
from tests.quant.networks import N, by_reference, normal

SIZES = np.array([1, 1, 1, 1, 1, 1, 1, 40], np.float32)  # of the channels


def uneven(*, gelu: bool) -> Graph:
    """Rows of which one channel is much larger than the others, through two linear layers and a view."""
    graph = Graph("test", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.F32, (N, 5, 8)))
    constant = graph.constant
    value = (
        graph.add(Gelu(), graph.add(Linear(), x, constant(np.diag(SIZES))), origin="act")
        if gelu
        else graph.add(LayerNorm(1e-5), x, constant(SIZES), constant(normal(8, 1)[:, 0]), origin="norm")
    )
    graph.output("y", graph.add(Linear(), value, constant(normal(16, 8, seed=1)), constant(normal(16, 1)[:, 0])))
    view = graph.add(Transpose((1, 0, 2)), value)
    graph.output("z", graph.add(Linear(), view, constant(normal(4, 8, seed=2))))
    return graph


def data(count: int = 32, seed: int = 3) -> Array:
    return np.random.default_rng(seed).standard_normal((count, 5, 8)).astype(np.float32)


def named(graph: Graph, origin: str) -> object:
    return next(node.output for node in graph.nodes if node.origin == origin)


@pytest.mark.parametrize(("gelu", "origin"), [(True, "act"), (False, "norm")])
def test_the_function_stays_the_same(gelu: bool, origin: str) -> None:
    graph, factors = uneven(gelu=gelu), np.linspace(0.1, 7, 8)
    value = named(graph, origin)
    moved = balance(graph, value, factors)
    RemoveDeadCode().run(graph)
    for got, expected in zip(run_reference(graph, [data()]), run_reference(uneven(gelu=gelu), [data()]), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-5)
    assert len(moved) == 3
    assert moved[value].producer.op.name == ("mul" if gelu else "layer_norm")
    watched, copies = graph.copied()
    watched.outputs = [("value", copies[moved[value]])]
    plain = uneven(gelu=gelu)
    plain.outputs = [("value", named(plain, origin))]
    (divided,), (whole,) = run_reference(watched, [data()]), run_reference(plain, [data()])
    np.testing.assert_allclose(divided * factors, whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("gelu", [True, False])
def test_there_is_less_noise(gelu: bool) -> None:
    exact = run_reference(uneven(gelu=gelu), [data(seed=4)])[0]
    noise = []
    for balancing in (True, False):
        graph = uneven(gelu=gelu)
        use_int8(graph, calibrate(graph, [data()], by_reference, balancing=balancing))
        noise.append(float(np.square(run_reference(graph, [data(seed=4)])[0] - exact).mean()))
    assert noise[0] < 0.7 * noise[1]


def seen(values: Array) -> Observed:
    observed = Observed(values.shape[-1])
    observed.take(values)
    return observed


def test_factors_are_powers_of_the_channels_reach() -> None:
    graph = uneven(gelu=True)
    value = named(graph, "act")
    factors = balanced(graph, value, seen(np.abs(data()) * SIZES))
    assert factors is not None
    assert np.log(factors).sum() == pytest.approx(0, abs=1e-9)
    assert 1.5 < factors[7] / factors[:7].mean() <= 40 ** OF_RANGES.max() * 1.3


def test_even_channels_and_dead_ones_stay() -> None:
    graph = uneven(gelu=True)
    value = named(graph, "act")
    assert balanced(graph, value, seen(np.tile(np.linspace(-1, 1, 9, dtype=np.float32)[:, None], 8))) is None
    assert balanced(graph, value, seen(np.zeros((4, 8), np.float32))) is None


def test_values_that_others_take_too_stay() -> None:
    graph = uneven(gelu=True)
    value = named(graph, "act")
    assert len(products_of(graph, value)) == 2
    graph.output("u", graph.add(Slice(2, 0, 4), value))
    assert products_of(graph, value) is None
    assert balanced(graph, value, seen(np.abs(data()) * SIZES)) is None
    assert balanced(graph, graph.inputs[0], seen(data() * SIZES)) is None


def depthwise() -> Graph:
    """A bounded activation of uneven channels before a convolution of each by itself."""
    graph = Graph("test", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.F32, (N, 5, 5, 8)))
    value = graph.add(Clip(0.0, 6.0), graph.add(Linear(), x, graph.constant(np.diag(SIZES / 20))), origin="act")
    taps = graph.constant(normal(8, 3, 3, seed=3).transpose(1, 2, 0) / SIZES)
    graph.output("y", graph.add(DepthwiseConv2d((1, 1), (1, 1, 1, 1)), value, taps))
    return graph


def test_depthwise_convolutions_take_factors_into_weights_of_16_bits() -> None:
    x = np.random.default_rng(0).standard_normal((32, 5, 5, 8)).astype(np.float32)
    exact = run_reference(depthwise(), [x])[0]
    noise = []
    for balancing in (True, False):
        graph = depthwise()
        use_int8(graph, calibrate(graph, [x], by_reference, balancing=balancing))
        noise.append(float(np.square(run_reference(graph, [x])[0] - exact).mean()))
    assert noise[0] < 0.2 * noise[1]


def convolved(*, sum: bool, groups: int = 1) -> Graph:
    """Uneven channels of a ReLU or a sum before a convolution, and beside it a linear layer."""
    graph = Graph("test", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.F32, (N, 5, 5, 8)))
    y = graph.add(Mul(), x, graph.constant(SIZES))
    value = graph.add(Add(), y, x, origin="act") if sum else graph.add(Relu(), y, origin="act")
    kernel = graph.constant(normal(16, 3, 3, 8 // groups, seed=3))
    graph.output("y", graph.add(Conv2d((1, 1), (1, 1, 1, 1), groups=groups), value, kernel))
    graph.output("z", graph.add(Linear(), value, graph.constant(normal(4, 8, seed=4))))
    return graph


@pytest.mark.parametrize("sum", [True, False])
def test_convolutions_and_linear_layers_of_one_value_share_factors(sum: bool) -> None:
    x = np.random.default_rng(0).standard_normal((32, 5, 5, 8)).astype(np.float32)
    exact = run_reference(convolved(sum=sum), [x])
    noise = []
    for balancing in (True, False):
        graph = convolved(sum=sum)
        use_int8(graph, calibrate(graph, [x], by_reference, balancing=balancing))
        got = run_reference(graph, [x])
        noise.append([float(np.square(one - other).mean()) for one, other in zip(got, exact, strict=True)])
    assert noise[0][0] < 0.7 * noise[1][0]
    assert noise[0][1] < 0.7 * noise[1][1]
    grouped = convolved(sum=sum, groups=2)
    assert balanced(grouped, named(grouped, "act"), seen(np.abs(x) * SIZES)) is None


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_what_a_convolution_is_off_by_is_predicted(power: float) -> None:
    """Factors move noise from the bytes of x to those of weights, of which each place of the kernel has its own."""
    x = np.random.default_rng(0).standard_normal((64, 5, 5, 8)).astype(np.float32)
    plain, quantised, factors = convolved(sum=True), convolved(sum=True), SIZES.astype(np.float64) ** power
    convolution = next(node for node in plain.nodes if isinstance(node.op, Conv2d))
    balance(quantised, named(quantised, "act"), factors)
    RemoveDeadCode().run(quantised)
    use_int8(quantised, calibrate(quantised, [x], by_reference, balancing=False), Scheme(algorithm="linear"))
    got, exact = (run_reference(graph, [x])[0][:, 1:-1, 1:-1] for graph in (quantised, plain))  # the border sees less
    measured = np.square(got - exact).sum(-1).mean() / exact.var((0, 1, 2)).sum()
    assert predicted_error(convolution, factors, seen(x * (SIZES + 1))) == pytest.approx(measured, rel=0.3)
