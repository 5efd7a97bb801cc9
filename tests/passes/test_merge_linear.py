"""Linear layers with nothing between them."""

import numpy as np
import pytest

from alula.ir.graph import Value
from alula.ops.elementwise import Relu
from alula.ops.shape import Reshape
from alula.passes.merge_linear import MergeLinear
from tests.passes.graphs import Builder, N, changed, counts


@pytest.mark.parametrize("biases", [(True, True), (True, False), (False, True), (False, False)])
def test_two_become_one(biases: tuple[bool, bool]) -> None:
    b = Builder((N, 6, 8))
    graph = b.finish(b.linear(b.linear(b.inputs[0], 16, bias=biases[0]), 12, bias=biases[1]))
    assert changed(graph, MergeLinear()) == 1
    assert counts(graph) == {"linear": 1}
    assert [value.type.shape for value in graph.nodes[0].inputs[1:]] == [(12, 8), (12,)][: 1 + any(biases)]


def test_a_reshape_that_leaves_the_columns_alone_comes_before_both() -> None:
    b = Builder((N, 6, 8))
    graph = b.finish(b.linear(b(Reshape((N, 2, 3, 16)), b.linear(b.inputs[0], 16)), 12))
    assert changed(graph, MergeLinear()) == 1
    assert [node.op.name for node in graph.nodes] == ["reshape", "linear"]


def narrow(b: Builder, x: Value) -> Value:
    """Two layers by way of fewer columns than both ends have."""
    return b.linear(b.linear(x, 2), 12)


def between(b: Builder, x: Value) -> Value:
    return b.linear(b(Relu(), b.linear(x, 16)), 12)


def mixed(b: Builder, x: Value) -> Value:
    return b.linear(b(Reshape((N, 12, 8)), b.linear(x, 16)), 12)


def computed(b: Builder, x: Value) -> Value:
    weight = b(Relu(), b.constant(16, 8))
    return b.linear(b(type(b.linear(x, 1).producer.op)(), x, weight), 12)  # type: ignore[union-attr]


@pytest.mark.parametrize("layers", [narrow, between, mixed, computed], ids=lambda layers: layers.__name__)
def test_others_stay(layers: object) -> None:
    b = Builder((N, 6, 8))
    graph = b.finish(layers(b, b.inputs[0]))  # type: ignore[operator]
    assert changed(graph, MergeLinear()) == 0


def test_what_others_take_too_stays() -> None:
    b = Builder((N, 6, 8))
    first = b.linear(b.inputs[0], 16)
    graph = b.finish(b.linear(first, 12), b(Relu(), first))
    assert changed(graph, MergeLinear()) == 0


def test_the_product_is_rounded_once() -> None:
    b = Builder((N, 6, 40))
    graph = b.finish(b.linear(b.linear(b.inputs[0], 64), 8))
    (v, c), (w, d) = ([value.data.astype(np.float64) for value in node.inputs[1:]] for node in graph.nodes)  # type: ignore[union-attr]
    MergeLinear().run(graph)
    weight, bias = (value.data for value in graph.nodes[-1].inputs[1:])
    assert np.array_equal(weight, (w @ v).astype(np.float32))  # type: ignore[arg-type]
    assert np.array_equal(bias, (w @ c + d).astype(np.float32))  # type: ignore[arg-type]
