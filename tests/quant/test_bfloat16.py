"""Products in bfloat16: what is rounded, what stays float32, and how little the result moves."""

import numpy as np

from alula.core.dtype import DType, to_bfloat16
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.attention import Attention
from alula.ops.conv import Conv2d
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.elementwise import Cast
from alula.ops.matmul import Linear
from alula.quant.bfloat16 import use_bfloat16
from tests.quant.networks import N, error, network, normal, one_linear, pictures, separable

WORST = 0.02  # of the largest output: five products with 8 bits each


def test_the_result_moves_a_little() -> None:
    graph = network()
    use_bfloat16(graph)
    assert 1e-4 < error(graph, network(), pictures(6)) < WORST


def test_operands_are_bfloat16_and_sums_float32() -> None:
    graph, before = network(), network()
    plain = {value.name: value.data for value in before.constants() if value.name}
    use_bfloat16(graph)
    products = [node for node in graph.nodes if isinstance(node.op, Linear | Conv2d | Attention)]
    assert len(products) == 6
    for node in products:
        x, other, *bias = node.inputs
        assert node.op.wide
        assert node.output.type.dtype is DType.F32
        assert other.type.dtype is DType.BF16
        assert x.type.dtype is (
            DType.U8 if getattr(node.op, "scale", ()) and isinstance(node.op, Conv2d) else DType.BF16
        )
        if other.data is not None:
            assert other.data.tobytes() == to_bfloat16(plain[other.name]).tobytes()
            assert all(value.type.dtype is DType.F32 for value in bias)


def test_depthwise_convolutions_read_bfloat16_and_keep_their_weights() -> None:
    graph = separable()
    use_bfloat16(graph)
    (node,) = (node for node in graph.nodes if isinstance(node.op, DepthwiseConv2d))
    assert [str(value.type.dtype) for value in node.inputs] == ["bf16", "f32", "f32"]
    x = np.random.default_rng(0).standard_normal((4, 6, 5, 8)).astype(np.float32)
    assert 0 < error(graph, separable(), x) < WORST


def test_values_are_rounded_before_views_and_once() -> None:
    """The projection that attention takes apart is rounded as it is made, not in three parts."""
    graph = network()
    use_bfloat16(graph)
    casts = [node for node in graph.nodes if isinstance(node.op, Cast)]
    assert [node.inputs[0].producer.op.name for node in casts] == ["relu", "layer_norm", "linear", "attention", "gelu"]


def test_tied_weights_stay_tied() -> None:
    graph = Graph("test", {"N": (1, 64)})
    x, weight = graph.input("x", TensorType(DType.F32, (N, 8))), graph.constant(np.eye(8, dtype=np.float32))
    graph.output("y", graph.add(Linear(), graph.add(Linear(), x, weight), weight))
    use_bfloat16(graph)
    assert len(graph.constants()) == 1


def test_odd_heads_and_odd_rows_stay_float32() -> None:
    graph = one_linear(normal(4, 7))
    q, k, v = (graph.input(name, TensorType(DType.F32, (N, 3, 10))) for name in "qkv")
    graph.output("z", graph.add(Attention(2, 1.0), q, k, v))
    before = str(graph)
    use_bfloat16(graph)
    assert str(graph) == before
