"""Products of bytes: scales, borders, biases, what stays float, and how little the result moves."""

from dataclasses import replace

import numpy as np
import pytest

from alula.core.dtype import Array, DType
from alula.core.errors import UsageError
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.attention import Attention
from alula.ops.conv import Conv2d
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.elementwise import Relu
from alula.ops.matmul import Linear
from alula.ops.norm import LayerNorm
from alula.ops.quantize import Quantize, QuantizeRows
from alula.ops.reference import run_reference
from alula.quant.calibrate import calibrate
from alula.quant.int8 import use_int8
from alula.quant.ranges import node_name
from alula.quant.scheme import Scheme
from tests.quant.networks import (
    SCALE,
    SHIFT,
    N,
    by_reference,
    error,
    network,
    normal,
    one_linear,
    ops,
    pictures,
    separable,
)

WORST = 0.04  # of the largest output; with other calibration pictures 0.02 to 0.05, nearest levels 0.02 to 0.06
DATA = [pictures(8, seed=1)]
F32 = np.float32


def lowered(graph: Graph, data: object = DATA, **scheme: object) -> Graph:
    use_int8(graph, None if data is None else calibrate(graph, data, by_reference), Scheme(**scheme))
    return graph


@pytest.mark.parametrize(("data", "worst"), [(DATA, WORST), (None, 0.03)], ids=["ranges", "rows"])
def test_the_result_moves_a_little(data: object, worst: float) -> None:
    assert 1e-4 < error(lowered(network(), data), network(), pictures(6)) < worst


def test_weights_are_rounded_by_moments_where_calibration_has_them() -> None:
    """What they are off by on other pictures is then far less; two channels in three repeat what others say."""
    graph, other = one_linear(normal(24, 12)), one_linear(normal(24, 12))
    x = normal(400, 3, 4, seed=1).repeat(3, axis=2)
    calibration = calibrate(graph, [x[:200]], by_reference)
    use_int8(graph, calibration)
    plain = {name: replace(one, moments=None) for name, one in calibration.activations.items()}
    use_int8(other, replace(calibration, activations=plain))
    together, nearest = (np.square(x[200:] @ (rounded(found) - normal(24, 12)).T).mean() for found in (graph, other))
    assert together < 0.5 * nearest
    assert np.abs(rounded(other) - normal(24, 12)).max() < 0.51 / 127 * np.abs(normal(24, 12)).max()


def rounded(graph: Graph) -> Array:
    """The levels of a graph's only product times the steps that one_linear's weight has."""
    (levels,) = (value.data for value in graph.constants() if value.type.dtype is DType.I8)
    return levels * (np.abs(normal(24, 12)).max(axis=1, keepdims=True) / 127)


def test_pixels_meet_weights_rounded_by_their_moments() -> None:
    graph, plain = network(), network()
    calibration = calibrate(graph, DATA, by_reference)
    pixels = replace(calibration.activations["input x"], moments=None)
    use_int8(graph, calibration)
    use_int8(plain, replace(calibration, activations={**calibration.activations, "input x": pixels}))
    ours, theirs = (
        {value.name: value.data.tolist() for value in one.constants() if value.type.dtype is DType.I8}
        for one in (graph, plain)
    )
    assert [name for name in ours if ours[name] != theirs[name]] == ["stem"]


def test_pictures_beyond_the_calibration_still_mean_something() -> None:
    assert error(lowered(network(), [pictures(1, seed=1) // 2 + 64]), network(), pictures(6)) < 0.3


def test_with_data_ranges_where_no_layer_norm_made_the_row() -> None:
    graph = lowered(network())
    made_by = [node.inputs[0].producer for node in graph.nodes if isinstance(node.op, Quantize)]
    assert [node.op.name for node in made_by] == [
        "add",
        "attention",
        "mul",
    ]  # the bytes are the ReLU; channels are balanced
    assert ops(graph).count("quantize_rows") == 1
    products = [node for node in graph.nodes if isinstance(node.op, Linear | Conv2d)]
    assert [node.output.type.dtype for node in products] == [DType.I32] * 5


def test_without_data_rows_and_convolutions_of_pixels_alone() -> None:
    graph = lowered(network(), None)
    assert ops(graph).count("quantize") == 0
    assert ops(graph).count("quantize_rows") == 3
    convs = [node.output.type.dtype for node in graph.nodes if isinstance(node.op, Conv2d)]
    assert convs == [DType.I32, DType.F32]


def test_convolutions_are_padded_with_the_byte_that_stands_for_0() -> None:
    def conv() -> Graph:
        graph = Graph("test", {"N": (1, 64)})
        x = graph.input("x", TensorType(DType.F32, (N, 4, 4, 8)))
        graph.output("y", graph.add(Conv2d(pad=(1, 1, 1, 1)), x, graph.constant(normal(5, 3, 3, 8))))
        return graph

    x = np.random.default_rng(0).uniform(-3, 1, (4, 4, 4, 8)).astype(np.float32)
    graph = lowered(conv(), [x])
    quantize, product = graph.nodes[:2]
    assert 185 < quantize.op.zero < 196
    assert product.op.border == (quantize.op.zero,) * 8
    assert error(graph, conv(), x) < 0.02


def pixel_conv(scale: tuple[float, ...], shift: tuple[float, ...], bias: bool = True) -> Graph:
    graph = Graph("test", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.U8, (N, 9, 8, 3)))
    op = Conv2d((2, 1), (1, 2, 1, 1), scale=scale, shift=shift)
    constants = [normal(8, 3, 4, 3), *([normal(8, seed=1)] if bias else [])]
    graph.output("y", graph.add(op, x, *map(graph.constant, constants)))
    return graph


def test_depthwise_convolutions_read_bytes_and_keep_weights_of_16_bits() -> None:
    x = np.random.default_rng(0).uniform(-3, 1, (4, 6, 5, 8)).astype(np.float32)
    graph = lowered(separable(), [x])
    (node,) = (node for node in graph.nodes if isinstance(node.op, DepthwiseConv2d))
    assert [str(value.type.dtype) for value in node.inputs] == ["u8", "i16"]
    assert 0 < node.op.zero < 255
    (plain,) = (node for node in separable().nodes if isinstance(node.op, DepthwiseConv2d))
    taps, words = plain.inputs[1].data, node.inputs[1].data.astype(np.float64)
    largest = np.abs(taps).max(axis=(0, 1))
    assert (np.abs(words).max(axis=(0, 1)) == 32767).all()
    assert (np.abs(words * largest / 32767 - taps) <= largest / 65534 * 1.001).all()
    assert 0 < error(graph, separable(), x) < WORST
    assert "quantize" not in ops(lowered(separable(), None))


def test_a_depthwise_kernel_of_too_many_products_stays_float() -> None:
    def wide(height: int) -> Graph:
        graph = Graph("test", {"N": (1, 64)})
        x = graph.input("x", TensorType(DType.F32, (N, 40, 9, 4)))
        graph.output("y", graph.add(DepthwiseConv2d(), x, graph.constant(normal(height, 7, 4))))
        return graph

    x = np.random.default_rng(0).standard_normal((2, 40, 9, 4)).astype(np.float32)
    assert "quantize" in ops(lowered(wide(36), [x]))
    assert ops(lowered(wide(37), [x])) == ["depthwise_conv2d"]


def test_a_product_right_after_another_one_is_one_of_bytes() -> None:
    graph = Graph("test", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.F32, (N, 8)))
    graph.output(
        "y", graph.add(Linear(), graph.add(Linear(), x, graph.constant(normal(12, 8))), graph.constant(normal(4, 12)))
    )
    graph = lowered(graph, [np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)])
    assert [node.output.type.dtype for node in graph.nodes if isinstance(node.op, Linear)] == [DType.I32] * 2


@pytest.mark.parametrize("bias", [True, False])
def test_pixels_lose_only_what_their_weights_lose(bias: bool) -> None:
    """Pixels are bytes already; the border is the byte nearest to the mean, which is half a level off at most."""
    x = np.random.default_rng(0).integers(0, 256, (4, 9, 8, 3), np.uint8)
    exact = pixel_conv(SCALE, SHIFT, bias)
    graph = lowered(pixel_conv(SCALE, SHIFT, bias), None)
    assert error(graph, exact, x) < 0.01
    (conv,) = (node for node in graph.nodes if isinstance(node.op, Conv2d))
    border = [round(-shift / scale) for scale, shift in zip(SCALE, SHIFT, strict=True)]
    assert list(conv.op.border) == border
    assert conv.op.scale == ()
    means = np.tile(np.array(border, np.uint8), (1, 9, 8, 1))  # a picture of the border's bytes is a picture of nothing
    (y,), (wanted,) = run_reference(graph, [means]), run_reference(exact, [means])
    np.testing.assert_allclose(y[:, 1:-1, 2:-1], wanted[:, 1:-1, 2:-1], atol=1e-5)
    assert np.ptp(y, axis=(0, 1, 2)).max() < 1e-5  # and no border is seen in it
    half_levels = max(SCALE) / 2 * np.abs(normal(8, 3, 4, 3)).sum(axis=(1, 2, 3))
    assert np.all(np.abs(y - wanted) <= half_levels)


def test_pixels_whose_zero_is_beyond_every_byte() -> None:
    graph, exact = (pixel_conv((0.01, 0.02, 0.03), (1.0, -9.0, -0.3)) for _ in range(2))
    lowered(graph, None)
    (conv,) = (node for node in graph.nodes if isinstance(node.op, Conv2d))
    assert conv.op.border == (0, 255, 10)
    x = np.random.default_rng(0).integers(0, 256, (4, 9, 8, 3), np.uint8)
    (y,), (wanted,) = (run_reference(g, [x]) for g in (graph, exact))
    inside = np.s_[:, 1:-1, 2:-1]
    assert np.abs(y - wanted)[inside].max() < 0.006 * np.abs(wanted).max()


def test_rows_are_nearly_exact_for_weights_of_levels() -> None:
    """Weights that are levels times a scale are kept; rows of levels too."""
    random = np.random.default_rng(0)
    levels = random.integers(-127, 128, (5, 8)).astype(np.float32)
    levels[:, 0] = 127
    weight = levels * np.array([[0.5], [1e-3], [2.0], [1e4], [1e-20]], np.float32)
    rows = random.integers(-127, 129, (4, 3, 8)).astype(np.float32)
    rows[..., 3], rows[..., 4] = -127, 128
    rows *= 10.0 ** random.integers(-3, 4, (4, 3, 1)).astype(np.float32)
    graph = lowered(one_linear(weight), None)
    (y,), exact = run_reference(graph, [rows]), rows.astype(np.float64) @ weight.T.astype(np.float64)
    bound = 1e-5 * (np.abs(rows) @ np.abs(weight).T.astype(np.float64))
    assert np.all(np.abs(y - exact) <= bound)


@pytest.mark.parametrize(
    "data", [[np.full((2, 3, 8), 2.5, F32), np.zeros((1, 3, 8), F32)], None], ids=["ranges", "rows"]
)
def test_constant_activations_and_zero_weights(data: object) -> None:
    weight = normal(6, 8)
    weight[2] = 0
    bias = normal(6, seed=2)
    graph, exact = lowered(one_linear(weight, bias), data), one_linear(weight, bias)
    x = np.full((2, 3, 8), 2.5, np.float32)
    assert error(graph, exact, x) < 0.01
    (y,) = run_reference(graph, [x])
    np.testing.assert_allclose(y[..., 2], bias[2], rtol=1e-6)
    zeros = np.zeros((1, 3, 8), np.float32)
    rounding = 0.0 if data is None else 2.5 * np.abs(weight).max() / 127 / 2 * 8  # which biases take back on average
    np.testing.assert_allclose(run_reference(graph, [zeros])[0], np.broadcast_to(bias, (1, 3, 6)), atol=1e-5 + rounding)


def test_activations_that_are_always_zero() -> None:
    """A unit that no picture wakes."""
    graph, bias = one_linear(normal(8, 8), np.full(8, -1e3, np.float32)), normal(6, seed=2)
    (hidden,) = (node.output for node in graph.nodes)
    graph.outputs = [("y", graph.add(Linear(), graph.add(Relu(), hidden), *map(graph.constant, (normal(6, 8), bias))))]
    (y,) = run_reference(lowered(graph, [normal(2, 3, 8)]), [normal(2, 3, 8)])
    np.testing.assert_allclose(y, np.broadcast_to(bias, y.shape), atol=1e-6)


@pytest.mark.parametrize("data", [[normal(1, 8)], None], ids=["ranges", "rows"])
def test_tied_weights_stay_tied(data: object) -> None:
    graph = Graph("test", {"N": (1, 64)})
    x, weight = graph.input("x", TensorType(DType.F32, (N, 8))), graph.constant(normal(8, 8))
    graph.output("y", graph.add(Linear(), graph.add(Linear(), x, weight), weight))
    lowered(graph, data)
    assert sum(value.type.dtype is DType.I8 for value in graph.constants()) == 1


def test_projections_of_one_row_quantise_it_once() -> None:
    graph = Graph("test", {"N": (1, 64)})
    vectors = [graph.constant(array) for array in (np.ones(8, np.float32), np.zeros(8, np.float32))]
    norm = graph.add(LayerNorm(1e-5), graph.input("x", TensorType(DType.F32, (N, 3, 8))), *vectors)
    for seed in range(3):
        graph.output(f"y{seed}", graph.add(Linear(), norm, graph.constant(normal(4, 8, seed=seed))))
    lowered(graph, None)
    assert sum(isinstance(node.op, QuantizeRows) for node in graph.nodes) == 1


def test_layers_of_other_types_and_odd_rows_stay() -> None:
    graph = one_linear(normal(4, 7))
    q, k, v = (graph.input(name, TensorType(DType.F16, (N, 3, 10))) for name in "qkv")
    graph.output("z", graph.add(Attention(2, 1.0), q, k, v))
    before = str(graph)
    assert str(lowered(graph, None)) == before


@pytest.mark.parametrize(
    ("activations", "least", "most", "rows", "worst"),
    [("asymmetric", 0, 200, 1, WORST), ("symmetric", 128, 128, 1, 2 * WORST), ("per-token", 0, 0, 3, WORST)],
)
def test_schemes_of_activations(activations: str, least: int, most: int, rows: int, worst: float) -> None:
    """Symmetric levels are twice as far apart where numbers have one sign."""
    graph = lowered(network(), activations=activations)
    zeros = [node.op.zero for node in graph.nodes if isinstance(node.op, Quantize)]
    assert (min(zeros) >= least, max(zeros) <= most) == (True, True)
    assert ops(graph).count("quantize_rows") == rows
    assert error(graph, network(), pictures(6)) < worst


def test_one_scale_for_a_whole_weight_is_worse() -> None:
    weight = normal(6, 8) * np.array([1, 1, 1, 1, 1, 1e-3], np.float32)[:, None]
    x = normal(4, 3, 8, seed=1)
    exact = run_reference(one_linear(weight), [x])[0][..., 5]
    found = [
        np.abs(run_reference(lowered(one_linear(weight), None, weights=name), [x])[0][..., 5] - exact).max()
        for name in ("per-channel", "per-tensor")
    ]
    assert found[0] < 0.02 * np.abs(exact).max() < 10 * found[1]


def test_nodes_that_are_named_stay_float() -> None:
    graph = network()
    names = [node_name(graph, node) for node in graph.nodes if isinstance(node.op, Linear | Attention)]
    kept = lowered(graph, float_nodes=dict.fromkeys(names[:2], "as asked"))
    products = [node for node in kept.nodes if isinstance(node.op, Linear | Conv2d)]
    assert [node.output.type.dtype for node in products] == [DType.I32] * 2 + [DType.F32] + [DType.I32] * 2
    assert [node.op.byte_values for node in kept.nodes if isinstance(node.op, Attention)] == [False]


@pytest.mark.parametrize("field", ["algorithm", "activations", "weights"])
def test_schemes_that_there_are_not(field: str) -> None:
    with pytest.raises(UsageError, match=r"expected one of [a-z-]+, .*, got 'best'"):
        Scheme(**{field: "best"})
