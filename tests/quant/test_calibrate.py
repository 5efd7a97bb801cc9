"""Calibration: what is seen, image by image, in memory that does not grow, and data that does not fit."""

import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from alula.core.dtype import Array, DType
from alula.core.errors import UsageError
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Exp, Relu
from alula.ops.matmul import Linear
from alula.ops.quantize import Dequantize, Quantize
from alula.quant.calibrate import calibrate
from alula.quant.calibration import Calibration
from alula.quant.ranges import Range
from tests.quant.networks import SCALE, SHIFT, N, by_reference, normal, one_linear

F32 = np.float32


def two_layers() -> Graph:
    graph = Graph("test", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.F32, (N, 4)))
    hidden = graph.add(Exp(), graph.add(Linear(), x, graph.constant(normal(8, 4))), origin="m.py:3")
    graph.output("y", graph.add(Linear(), hidden, graph.constant(normal(3, 8))))
    return graph


def seen(graph: Graph, data: object) -> Calibration:
    return calibrate(graph, data, by_reference)


def ends(calibration: Calibration) -> list[tuple[float, float]]:
    return [(a.ranges["linear"].low, a.ranges["linear"].high) for a in calibration.activations.values()]


def test_the_ends_over_all_images_in_any_batches() -> None:
    graph, x = two_layers(), np.random.default_rng(0).standard_normal((9, 4)).astype(F32)
    hidden = np.exp(x @ normal(8, 4).T)
    texts = []
    for data in ([x], [x[:4], x[4:]], ((x[n : n + 1],) for n in range(9))):
        calibration = seen(graph, data)
        assert list(calibration.activations) == ["input x", "1 exp m.py:3"]
        np.testing.assert_allclose(ends(calibration), [(x.min(), x.max()), (0.0, hidden.max())], rtol=1e-6)
        texts.append(calibration.text())
    assert len(set(texts)) == 1
    assert calibration.images == 9
    assert len(graph.outputs) == 1  # the graph itself is as it was


def test_channels_have_ends_and_means() -> None:
    x = np.random.default_rng(0).gamma(2, [1, 2, 3, 4], (50, 4)).astype(F32) - 3
    activation = seen(two_layers(), [x]).activations["input x"]
    np.testing.assert_allclose(activation.low, x.min(0), rtol=1e-6)
    np.testing.assert_allclose(activation.high, x.max(0), rtol=1e-6)
    np.testing.assert_allclose(activation.mean, x.mean(0), rtol=1e-5)


def test_the_moving_average_follows_images_in_turn() -> None:
    x = np.array([[1, 0, 0, 0], [3, 0, 0, -1]], F32)
    moving = seen(two_layers(), [x]).activations["input x"].ranges["moving_average"]
    assert (moving.low, moving.high) == pytest.approx((-0.1, 1.2))


def test_eqnm_is_of_what_the_products_are_off_by() -> None:
    """One channel has long tails and hardly any weight: no other range makes less of an error in the product."""
    random = np.random.default_rng(0)
    x = np.concatenate([5 * random.standard_t(3, (5000, 1)), random.uniform(-1, 1, (5000, 3))], axis=1).astype(F32)
    weight = np.array([[0.01, 1, -1, 0.5], [0.02, -1, 0.3, 1]], F32)
    graph = Graph("test", {"N": (1, 64)})
    graph.output("y", graph.add(Linear(), graph.input("x", TensorType(DType.F32, (N, 4))), graph.constant(weight)))

    def off(range: Range) -> float:
        op = range.quantize()
        back = Dequantize(op.scale, op.zero).reference(Quantize(op.scale, op.zero).reference(x))
        return float(np.square((back - x) @ weight.T).mean())

    ends = np.geomspace(0.5, 60, 40)
    found = calibrate(graph, [x], by_reference).activations["input x"].ranges["eqnm"]
    assert off(found) <= 1.06 * min(off(Range(-low, high)) for low in ends for high in ends)


def test_pixels_have_means_too() -> None:
    graph = Graph("test", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.U8, (N, 4, 4, 3)))
    y = graph.add(Relu(), graph.add(Conv2d(scale=SCALE, shift=SHIFT), x, graph.constant(normal(8, 3, 3, 3))))
    graph.output("y", graph.add(Conv2d(), y, graph.constant(normal(4, 2, 2, 8))))
    pictures = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), np.uint8)
    activations = seen(graph, [pictures]).activations
    assert list(activations) == ["input x", "1 relu"]
    np.testing.assert_allclose(activations["input x"].mean, pictures.mean((0, 1, 2)), rtol=1e-5)


def test_one_image_at_a_time_whatever_the_batch() -> None:
    """So that ranges, and the file, do not depend on how calibration comes in."""
    batches = []

    def runner(graph: Graph) -> object:
        run = by_reference(graph)
        return lambda inputs: batches.append(len(inputs[0])) or run(inputs)

    calibrate(two_layers(), [normal(5, 4), normal(2, 4)], runner)
    assert batches == [1] * 7


def test_memory_does_not_grow_with_the_number_of_images() -> None:
    def images(count: int) -> Iterator[Array]:
        random = np.random.default_rng(0)
        return (random.standard_normal((1, 50, 64)).astype(F32) for _ in range(count))

    peaks = []
    for count in (100, 100, 400):  # the first fills what is filled once
        tracemalloc.start()
        seen(one_linear(normal(8, 64), rows=50), images(count))
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[2] < peaks[1] + 100 * 50 * 64 * 4  # a third of the images between


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "calibration: expected at least one image, got none"),
        ([np.zeros((0, 4), F32)], "calibration: expected at least one image, got none"),
        ([np.zeros((2, 5), F32)], "calibration: expected f32[N,4], got float32[2, 5]"),
        ([np.zeros((2, 4, 1), F32)], "calibration: expected f32[N,4], got float32[2, 4, 1]"),
        ([np.zeros((2, 4))], "calibration: expected f32[N,4], got float64[2, 4]"),
        ([np.zeros(4, F32)], "calibration: expected f32[N,4], got float32[4]"),
        ([[np.zeros((2, 4), F32)] * 2], "calibration: expected f32[N,4], got float32[2, 4], float32[2, 4]"),
        ([[]], "calibration: expected f32[N,4], got "),
        ([np.full((2, 4), 0.5, F32)] * 3, "calibration input x: expected values that differ, got 0.5 alone"),
        ([np.full((2, 4), np.nan, F32)], "calibration input x: expected finite values, got others"),
        ([np.full((2, 4), np.inf, F32)], "calibration input x: expected finite values, got others"),
        (
            [np.full((1, 4), 300, F32) * np.sign(normal(8, 4)[0])],
            "calibration 1 exp m.py:3: expected finite values, got others",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",
)
def test_calibration_that_does_not_fit(data: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        seen(two_layers(), data)
    assert str(caught.value) == message


def test_several_inputs_share_a_batch() -> None:
    graph = one_linear(normal(3, 4))
    graph.output(
        "z", graph.add(Linear(), graph.input("u", TensorType(DType.F32, (N, 4))), graph.constant(normal(3, 4)))
    )
    good = [normal(2, 3, 4), -np.abs(normal(2, 4))]
    low, high = good[0].min(), good[0].max()
    np.testing.assert_allclose(ends(seen(graph, [good])), [(low, high), (good[1].min(), 0.0)], rtol=1e-6)
    with pytest.raises(
        UsageError, match=r"calibration: expected f32\[N,3,4\], f32\[N,4\], got float32\[2, 3, 4\], float32\[1, 4\]"
    ):
        seen(graph, [[good[0], good[1][:1]]])
