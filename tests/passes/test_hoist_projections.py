"""Linear layers before interpolations that enlarge."""

import numpy as np
import pytest

from alula.ir.graph import Value
from alula.ops.elementwise import Relu
from alula.ops.gather import Interpolate
from alula.ops.shape import Concat
from alula.passes.hoist_projections import HoistProjections
from tests.passes.graphs import Builder, N, changed, counts


def enlarged(b: Builder, x: Value, axis: int, size: int, total: float = 1.0) -> Value:
    """Two neighbours for each of `size` elements, in random shares."""
    first = b.random.integers(0, x.type.shape[axis] - 1, size)  # type: ignore[operator]
    shares = b.random.uniform(0.1, 0.9, size).astype(np.float32)
    tables = np.stack([first, first + 1], 1), np.stack([shares, np.float32(total) - shares], 1)
    return b(Interpolate(axis), x, *(b.graph.constant(table) for table in tables))


def order(graph: object) -> list[str]:
    return [node.op.name for node in graph.nodes]  # type: ignore[attr-defined]


@pytest.mark.parametrize("bias", [True, False])
def test_the_layer_comes_before_both_interpolations(bias: bool) -> None:
    b = Builder((N, 3, 4, 8))
    graph = b.finish(b.linear(enlarged(b, enlarged(b, b.inputs[0], 1, 6), 2, 9), 5, bias=bias))
    assert changed(graph, HoistProjections()) == 2
    assert order(graph) == ["linear", "interpolate", "interpolate"]
    assert len(graph.nodes[0].inputs) == 2 + bias


def test_a_concatenation_becomes_a_sum() -> None:
    b = Builder((N, 6, 9, 4), (N, 3, 9, 8), (N, 6, 9, 7), (N, 2, 9, 5))
    plain, small, other, tiny = b.inputs
    joined = b(Concat(3), plain, enlarged(b, small, 1, 6), other, enlarged(b, tiny, 1, 6))
    graph = b.finish(b(Relu(), b.linear(joined, 5)))
    assert changed(graph, HoistProjections()) == 1
    assert counts(graph) == {"add": 2, "concat": 1, "interpolate": 2, "linear": 3, "relu": 1}


def test_without_another_part_the_bias_goes_with_the_first() -> None:
    b = Builder((N, 3, 9, 8), (N, 2, 9, 5))
    joined = b(Concat(3), *(enlarged(b, x, 1, 6) for x in b.inputs))
    graph = b.finish(b.linear(joined, 5))
    assert changed(graph, HoistProjections()) == 1
    assert [len(node.inputs) for node in graph.nodes if node.op.name == "linear"] == [3, 2]


def test_a_part_of_fewer_channels_than_the_layer_gives_stays() -> None:
    b = Builder((N, 3, 9, 8), (N, 2, 9, 4))
    joined = b(Concat(3), *(enlarged(b, x, 1, 6) for x in b.inputs))
    graph = b.finish(b.linear(joined, 5))
    assert changed(graph, HoistProjections()) == 1
    assert counts(graph) == {"add": 1, "interpolate": 2, "linear": 2}


STAYS = {
    "smaller": lambda b, x: enlarged(b, x, 1, 2),
    "of channels": lambda b, x: enlarged(b, x, 3, 12),
    "shares of another sum": lambda b, x: enlarged(b, x, 1, 6, total=1.01),
    "narrow": lambda b, x: enlarged(b, b.linear(x, 4), 1, 6),
    "not interpolated": lambda b, x: b(Concat(3), x, b(Relu(), x)),
    "joined along another axis": lambda b, x: b(Concat(1), enlarged(b, x, 1, 6), enlarged(b, x, 1, 5)),
}


@pytest.mark.parametrize("make", STAYS.values(), ids=STAYS)
def test_others_stay(make: object) -> None:
    b = Builder((N, 3, 4, 8))
    graph = b.finish(b.linear(make(b, b.inputs[0]), 5))  # type: ignore[operator]
    assert changed(graph, HoistProjections()) == 0


def test_what_others_take_too_stays() -> None:
    b = Builder((N, 3, 4, 8))
    large = enlarged(b, b.inputs[0], 1, 6)
    graph = b.finish(b.linear(large, 5), b(Relu(), large))
    assert changed(graph, HoistProjections()) == 0
