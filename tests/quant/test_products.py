"""Which products can be narrowed: constant float32 weights whose rows are whole words."""

import numpy as np
import pytest

from alula.codegen.packing import pack_weights
from alula.core.dtype import DType
from alula.core.target import AVX2
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.conv import Conv2d
from alula.ops.matmul import Linear
from alula.quant.products import narrowable
from tests.quant.networks import N, network


def conv(c: int, groups: int = 1) -> Graph:
    graph = Graph("test", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.F32, (N, 5, 5, c)))
    graph.output("y", graph.add(Conv2d(groups=groups), x, graph.constant(np.ones((8, 3, 3, c // groups), np.float32))))
    return graph


def linear(k: int, weight: DType = DType.F32) -> Graph:
    graph = Graph("test", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.F32, (N, k)))
    graph.output("y", graph.add(Linear(), x, graph.constant(np.ones((3, k), weight.numpy))))
    return graph


def fits(graph: Graph) -> tuple[bool, bool]:
    """Whether the graph's only product can be one of bfloat16, of bytes."""
    return bool(list(narrowable(graph, DType.BF16))), bool(list(narrowable(graph, DType.I8)))


@pytest.mark.parametrize(
    ("k", "fitting"), [(1, (0, 0)), (2, (1, 0)), (3, (0, 0)), (4, (1, 1)), (6, (1, 0)), (64, (1, 1))]
)
def test_linear_layers_of_whole_words(k: int, fitting: tuple[int, int]) -> None:
    assert fits(linear(k)) == fitting
    assert fits(linear(k, DType.F16)) == (False, False)


@pytest.mark.parametrize(
    ("c", "groups", "fitting"),
    [
        (1, 1, (1, 1)),
        (3, 1, (1, 1)),
        (5, 1, (0, 1)),
        (7, 1, (1, 1)),
        (9, 1, (0, 0)),
        (12, 1, (1, 1)),
        (8, 2, (1, 1)),
        (4, 2, (1, 0)),
        (8, 8, (0, 0)),
    ],
)
def test_convolutions_of_few_channels_or_whole_words(c: int, groups: int, fitting: tuple[int, int]) -> None:
    assert fits(conv(c, groups)) == fitting


def test_all_layers_of_a_network_in_order_and_none_that_is_packed() -> None:
    graph = network()
    names = [node.inputs[1].name for node in narrowable(graph, DType.I8)]
    assert names == ["stem", "second", "qkv", "up", "down"]
    pack_weights(graph, AVX2)
    assert list(narrowable(graph, DType.I8)) == []


def test_weights_and_biases_that_are_computed_stay() -> None:
    graph = Graph("test", {"N": (1, 64)})
    x, w, b = (
        graph.input(name, TensorType(DType.F32, shape)) for name, shape in (("x", (N, 4)), ("w", (3, 4)), ("b", (3,)))
    )
    graph.output("y", graph.add(Linear(), x, w))
    graph.output("z", graph.add(Linear(), x, graph.constant(np.ones((3, 4), np.float32)), b))
    assert fits(graph) == (False, False)
