"""Which activations find a scale for each row: a LayerNorm's, few, those of attention and of MLPs whose rows differ."""

import numpy as np
import pytest

from alula.core.dtype import DType
from alula.ir.graph import Graph, Value
from alula.ir.types import TensorType
from alula.ops.attention import Attention
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Add, Gelu, Relu
from alula.ops.matmul import Linear
from alula.ops.norm import LayerNorm
from alula.ops.shape import Reshape
from alula.passes.remove_dead_code import RemoveDeadCode
from alula.quant.observed import Observed
from alula.quant.ranges import Range
from alula.quant.rows import FEW, WIDE, by_rows
from tests.quant.networks import N, network, normal


def mixed() -> Graph:
    graph = Graph("test", {"N": (1, 64)})
    parts = [graph.input(name, TensorType(DType.F32, (N, 6, 8))) for name in "qkv"]
    graph.output("y", graph.add(Linear(), graph.add(Attention(2, 1.0), *parts), graph.constant(normal(4, 8))))
    return graph


@pytest.mark.parametrize(("smallest", "expected"), [(1.0, False), (0.8, False), (0.02, True)])
def test_rows_of_attention_that_differ(smallest: float, expected: bool) -> None:
    """One scale suits rows alike; half of them far smaller are worth a step."""
    x = np.random.default_rng(0).uniform(-1, 1, (100, 8)).astype(np.float32)
    x[10:] *= smallest
    observed = Observed(8)
    observed.take(x)
    graph = mixed()
    assert by_rows(graph, graph.nodes[0].output, observed, Range(-1, 1)) is expected


def test_rows_of_a_layer_norm_always_and_of_others_never() -> None:
    graph, observed = network(), Observed(32)
    observed.take(np.full((4, 32), 0.01, np.float32))
    found = {node.op.name for node in graph.nodes if by_rows(graph, node.output, observed, Range(-1, 1))}
    assert found == {"layer_norm", "attention"}
    observed = Observed(32)
    observed.take(np.tile(np.float32([-1, 1]), (4, 16)))
    found = {node.op.name for node in graph.nodes if by_rows(graph, node.output, observed, Range(-1, 1))}
    assert found == {"layer_norm"}


def test_what_other_ops_take_too_keeps_one_range() -> None:
    graph, observed = mixed(), Observed(8)
    observed.take(np.full((4, 8), 0.01, np.float32))
    value = graph.nodes[0].output
    assert by_rows(graph, value, observed, Range(-1, 1))
    graph.output("z", value)
    assert not by_rows(graph, value, observed, Range(-1, 1))


def mlp(features: int, *, normalised: bool) -> tuple[Graph, Value]:
    """The hidden layer, with or without a LayerNorm somewhere after the sum of which its product is a part."""
    graph = Graph("mlp", {"N": (1, 64)})
    hidden = graph.add(Gelu(), graph.input("x", TensorType(DType.F32, (N, 6, 8))))
    y = graph.add(Linear(), hidden, graph.constant(normal(features, 8)))
    y = graph.add(Reshape((N * 6, features)), graph.add(Add(), y, graph.input("sum", y.type)))
    y = graph.add(LayerNorm(1e-5), y, graph.constant(normal(features)), graph.constant(normal(features)))
    graph.output("y", y if normalised else graph.nodes[-2].output)
    RemoveDeadCode().run(graph)
    return graph, hidden


@pytest.mark.parametrize(
    ("features", "normalised", "smallest", "expected"),
    [(WIDE, True, 0.02, True), (WIDE - 1, True, 0.02, False), (WIDE, False, 0.02, False), (WIDE, True, 0.8, False)],
)
def test_hidden_layers_whose_rows_differ(features: int, normalised: bool, smallest: float, expected: bool) -> None:
    x = np.random.default_rng(0).uniform(-1, 1, (100, 8)).astype(np.float32)
    x[10:] *= smallest
    observed = Observed(8)
    observed.take(x)
    graph, hidden = mlp(features, normalised=normalised)
    assert by_rows(graph, hidden, observed, Range(-1, 1)) is expected


@pytest.mark.parametrize(("rows", "expected"), [(1, True), (FEW, True), (FEW + 1, False)])
def test_few_rows(rows: int, expected: bool) -> None:
    """Before a linear layer; a convolution has one scale for all that it takes."""
    graph, observed = Graph("test", {"N": (1, 64)}), Observed(8)
    value = graph.add(Gelu(), graph.input("x", TensorType(DType.F32, (N, rows, 8))))
    graph.output("y", graph.add(Linear(), value, graph.constant(normal(4, 8))))
    image = graph.add(Relu(), graph.input("image", TensorType(DType.F32, (N, rows, 1, 8))))
    graph.output("z", graph.add(Conv2d((1, 1), (0, 0, 0, 0)), image, graph.constant(normal(4, 1, 1, 8))))
    assert by_rows(graph, value, observed, Range(-1, 1)) is expected
    assert not by_rows(graph, image, observed, Range(-1, 1))
