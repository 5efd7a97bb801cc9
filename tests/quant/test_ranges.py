"""Ranges of activations: the bytes that they become, and whose range an operand has."""

import numpy as np
import pytest

from alula.core.dtype import DType
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.elementwise import Exp
from alula.ops.quantize import QuantizeRows
from alula.ops.shape import Reshape, Slice, Transpose
from alula.quant.ranges import Range, channels, node_name, root, value_name
from tests.quant.networks import N


def taken(*values: float) -> Range:
    return Range(min(0.0, 0.0, *values), max(0.0, 0.0, *values))


@pytest.mark.parametrize("values", [(-1.0, 3.0), (2.0, 5.0), (-7.0, -2.0), (0.0,), (1e-38,), (-3e4, 1e-3)])
def test_zero_is_a_byte_and_the_ends_are_nearly_reached(values: tuple[float, ...]) -> None:
    op = taken(*values).quantize()
    low, high = min(*values, 0.0), max(*values, 0.0)
    assert op.reference(np.zeros(1, np.float32))[0] == op.zero
    levels = op.reference(np.array([low, high], np.float32)).astype(float)
    error = (levels - op.zero) * op.scale - np.array([low, high])
    assert np.abs(error).max() <= 0.51 * op.scale
    if high - low > 1e-6:
        assert op.scale == pytest.approx((high - low) / 255, rel=1e-6)
        assert levels.tolist() == [0, 255]


def test_nothing_and_constants_make_a_scale_all_the_same() -> None:
    assert Range().quantize().scale > 0
    assert taken(5.0, 5.0).quantize().reference(np.array([5, 0], np.float32)).tolist() == [255, 0]
    assert taken(-5.0).quantize().reference(np.array([-5, 0], np.float32)).tolist() == [0, 255]


def test_views_are_quantised_as_what_they_are_of() -> None:
    graph = Graph("test", {"N": (1, 64)})
    x = graph.add(Exp(), graph.input("x", TensorType(DType.F32, (N, 4, 6))))
    view = graph.add(Slice(1, 0, 12), graph.add(Reshape((N, 24)), graph.add(Transpose((0, 2, 1)), x)))
    assert root(view) is x
    assert root(graph.inputs[0]) is graph.inputs[0]


def test_symmetric_levels_have_0_in_the_middle() -> None:
    op = Range(-1.0, 3.0).quantize(symmetric=True)
    assert (op.zero, op.scale) == (128, pytest.approx(3 / 127, rel=1e-6))
    assert op.reference(np.array([-3, -1, 0, 3], np.float32)).tolist() == [1, 86, 128, 255]


def test_names_tell_values_and_nodes_apart() -> None:
    graph = Graph("test", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.F32, (N, 4)))
    y = graph.add(Exp(), x, origin="block.0 (m.py:3)")
    rows = graph.add_node(QuantizeRows(), y, origin="")
    assert value_name(graph, x) == "input x"
    assert value_name(graph, y) == node_name(graph, y.producer) == "0 exp block.0 (m.py:3)"
    assert [value_name(graph, value) for value in rows.outputs] == [
        "1 quantize_rows output 0",
        "1 quantize_rows output 1",
        "1 quantize_rows output 2",
    ]


def test_channels_are_the_fixed_last_axis() -> None:
    graph = Graph("test", {"N": (1, 64)})
    types = [TensorType(DType.F32, shape) for shape in ((N, 3, 5), (N, N), ())]
    assert [channels(graph.input(f"x{n}", type)) for n, type in enumerate(types)] == [5, 1, 1]
