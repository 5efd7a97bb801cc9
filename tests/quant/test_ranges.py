"""Ranges of activations: what is seen, image by image, and calibration that does not fit, in one line each."""

import numpy as np
import pytest

from alula.core.dtype import DType
from alula.core.errors import UsageError
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.elementwise import Exp
from alula.ops.matmul import Linear
from alula.ops.shape import Reshape, Slice, Transpose
from alula.quant.ranges import Range, observe, root
from tests.quant.networks import N, by_reference, normal, one_linear


def taken(*values: float) -> Range:
    found = Range()
    found.take(np.array(values, np.float32))
    return found


@pytest.mark.parametrize("values", [(-1.0, 3.0), (2.0, 5.0), (-7.0, -2.0), (0.0,), (1e-38,), (-3e4, 1e-3)])
def test_zero_is_a_byte_and_the_ends_are_nearly_reached(values: tuple[float, ...]) -> None:
    op = taken(*values).quantize()
    low, high = min(0.0, *values, 0.0), max(0.0, *values, 0.0)
    assert op.reference(np.zeros(1, np.float32))[0] == op.zero
    levels = op.reference(np.array([low, high], np.float32)).astype(float)
    error = (levels - op.zero) * op.scale - np.array([low, high])
    assert np.abs(error).max() <= 0.51 * op.scale
    if high - low > 1e-6:
        assert op.scale == pytest.approx((high - low) / 255, rel=1e-6)
        assert levels.tolist() == [0, 255]


def test_nothing_and_constants_make_a_scale_all_the_same() -> None:
    assert taken().quantize() == taken(0.0, 0.0).quantize()
    assert taken(5.0, 5.0).quantize().reference(np.array([5, 0], np.float32)).tolist() == [255, 0]
    assert taken(-5.0).quantize().reference(np.array([-5, 0], np.float32)).tolist() == [0, 255]


def test_views_are_quantised_as_what_they_are_of() -> None:
    graph = Graph("test", {"N": (1, 64)})
    x = graph.add(Exp(), graph.input("x", TensorType(DType.F32, (N, 4, 6))))
    view = graph.add(Slice(1, 0, 12), graph.add(Reshape((N, 24)), graph.add(Transpose((0, 2, 1)), x)))
    assert root(view) is x
    assert root(graph.inputs[0]) is graph.inputs[0]


def two_layers() -> Graph:
    graph = Graph("test", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.F32, (N, 4)))
    hidden = graph.add(Exp(), graph.add(Linear(), x, graph.constant(normal(8, 4))), origin="m.py:3")
    graph.output("y", graph.add(Linear(), hidden, graph.constant(normal(3, 8))))
    return graph


def ranges(graph: Graph, data: object) -> list[tuple[float, float]]:
    products = [node for node in graph.nodes if isinstance(node.op, Linear)]
    return [(found.low, found.high) for found in observe(graph, products, data, by_reference).values()]


def test_the_ends_over_all_images_in_any_batches() -> None:
    graph, x = two_layers(), np.random.default_rng(0).standard_normal((9, 4)).astype(np.float32)
    hidden = np.exp(x @ normal(8, 4).T)
    wanted = [(x.min(), x.max()), (0.0, hidden.max())]
    for data in ([x], [x[:4], x[4:]], ((x[n : n + 1],) for n in range(9))):
        np.testing.assert_allclose(ranges(graph, data), wanted, rtol=1e-6)
    assert len(graph.outputs) == 1  # the graph itself is as it was


def test_one_image_at_a_time_whatever_the_batch() -> None:
    """So that ranges, and the file, do not depend on how calibration comes in."""
    batches = []

    def runner(graph: Graph) -> object:
        run = by_reference(graph)
        return lambda inputs: batches.append(len(inputs[0])) or run(inputs)

    graph = two_layers()
    observe(graph, [graph.nodes[0]], [np.zeros((5, 4), np.float32), np.zeros((2, 4), np.float32)], runner)
    assert batches == [1] * 7


F32 = np.float32


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
        ([np.full((2, 4), np.nan, F32)], "calibration input x: expected finite values, got others"),
        ([np.full((2, 4), np.inf, F32)], "calibration input x: expected finite values, got others"),
        (
            [np.full((1, 4), 300, F32) * np.sign(normal(8, 4)[0])],
            "calibration exp m.py:3: expected finite values, got others",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "data",
)
def test_calibration_that_does_not_fit(data: object, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        ranges(two_layers(), data)
    assert str(caught.value) == message


def test_several_inputs_share_a_batch() -> None:
    graph = one_linear(normal(3, 4))
    graph.output(
        "z", graph.add(Linear(), graph.input("u", TensorType(DType.F32, (N, 2))), graph.constant(normal(3, 2)))
    )
    good = [np.ones((2, 3, 4), F32), np.full((2, 2), -1, F32)]
    assert ranges(graph, [good]) == [(0.0, 1.0), (-1.0, 0.0)]
    with pytest.raises(
        UsageError, match=r"calibration: expected f32\[N,3,4\], f32\[N,2\], got float32\[2, 3, 4\], float32\[1, 2\]"
    ):
        ranges(graph, [[good[0], good[1][:1]]])
