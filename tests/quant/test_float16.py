"""Weights in float16: what changes, what does not, and what is refused."""

import numpy as np
import pytest

from alula.codegen.packing import pack_weights
from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.core.errors import UsageError
from alula.core.target import AVX2, AVX512, CpuTarget
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Relu
from alula.ops.matmul import Linear
from alula.ops.reference import run_reference
from alula.quant.float16 import LARGEST, store_float16
from tests.codegen.harness import Compiled

N = symbol("N")


def network(largest: float = 1.0) -> Graph:
    """A convolution of pictures and a linear layer, both with biases."""
    random = np.random.default_rng(0)
    graph = Graph("test", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.U8, (N, 9, 9, 3)))
    weight = random.standard_normal((20, 3, 3, 3)).astype(np.float32)
    weight[1, 1, 1, 1] = largest
    conv = Conv2d((2, 2), (1, 1, 1, 1), scale=(0.01, 0.02, 0.03), shift=(-1.0, 0.5, 2.0))
    y = graph.add(Relu(), graph.add(conv, x, graph.constant(weight, "stem"), graph.constant(bias(20))))
    linear = graph.constant(random.standard_normal((50, 20)).astype(np.float32), "head")
    graph.output("y", graph.add(Linear(), y, linear, graph.constant(bias(50))))
    return graph


def bias(count: int) -> np.ndarray:
    return np.linspace(-1, 1, count, dtype=np.float32)


def test_weights_alone_change() -> None:
    graph = network()
    before = {value.name: value.data for value in graph.constants()}
    store_float16(graph)
    for value in graph.constants():
        expected = DType.F16 if value.name else DType.F32  # the biases have no name
        assert value.type.dtype is expected
        if value.name:
            np.testing.assert_array_equal(value.data, before[value.name].astype(np.float16))
    assert all(node.output.type.dtype is DType.F32 for node in graph.nodes)


@pytest.mark.parametrize("target", [AVX2, pytest.param(AVX512, marks=pytest.mark.isa("avx512"))], ids=lambda t: t.name)
def test_kernels_compute_with_exactly_the_stored_weights(target: CpuTarget) -> None:
    graph = network()
    store_float16(graph)
    pictures = np.random.default_rng(1).integers(0, 256, (3, 9, 9, 3), np.uint8)
    (expected,) = run_reference(graph, [pictures])
    pack_weights(graph, target)
    compiled = Compiled(graph, target)
    (result,) = compiled(pictures)
    compiled.close()
    np.testing.assert_allclose(result, expected, rtol=0, atol=2e-6 * np.abs(expected).max())
    (float32,) = run_reference(network(), [pictures])
    assert np.abs(expected - float32).max() > 1e-5 * np.abs(expected).max()  # else this test proves nothing


@pytest.mark.parametrize("value", [LARGEST * 1.01, -1e9, np.inf, np.nan])
def test_a_weight_beyond_float16_is_named(value: float) -> None:
    with pytest.raises(UsageError, match="float16 weight stem: expected values of at most 65504, got"):
        store_float16(network(value))


def test_the_largest_float16_is_stored() -> None:
    graph = network(LARGEST)
    store_float16(graph)
    assert max(value.data.max() for value in graph.constants() if value.name == "stem") == LARGEST


def test_tied_weights_stay_tied() -> None:
    graph = Graph("test", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.F32, (N, 8)))
    weight = graph.constant(np.eye(8, dtype=np.float32))
    graph.output("y", graph.add(Linear(), graph.add(Linear(), x, weight), weight))
    store_float16(graph)
    assert len(graph.constants()) == 1
