"""Which activations find a scale for each row: a LayerNorm's, those of attention whose rows differ, and few."""

import numpy as np
import pytest

from alula.core.dtype import DType
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.attention import Attention
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Gelu, Relu
from alula.ops.matmul import Linear
from alula.quant.observed import Observed
from alula.quant.ranges import Range
from alula.quant.rows import FEW, by_rows
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
    observed.take(np.zeros((4, 32), np.float32))
    found = {node.op.name for node in graph.nodes if by_rows(graph, node.output, observed, Range(-1, 1))}
    assert found == {"layer_norm", "attention"}
    observed.take(np.ones((4, 32), np.float32))
    found = {node.op.name for node in graph.nodes if by_rows(graph, node.output, observed, Range(-1, 1))}
    assert found == {"layer_norm"}


def test_what_other_ops_take_too_keeps_one_range() -> None:
    graph, observed = mixed(), Observed(8)
    observed.take(np.zeros((4, 8), np.float32))
    value = graph.nodes[0].output
    assert by_rows(graph, value, observed, Range(-1, 1))
    graph.output("z", value)
    assert not by_rows(graph, value, observed, Range(-1, 1))


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
