"""Whole graphs by the references: binding of sizes, freeing of values, bfloat16, and inputs that do not fit."""

import tracemalloc

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alula.core.dims import symbol
from alula.core.dtype import DType, from_bfloat16, to_bfloat16
from alula.core.errors import GraphError, ShapeError
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.elementwise import Add, Exp, Gelu, Neg
from alula.ops.matmul import Linear
from alula.ops.reference import apply_op, bind_sizes, run_reference
from alula.ops.shape import Reshape, Slice

N = symbol("N")


def network() -> Graph:
    """x[N,2,3] -> reshape -> linear -> gelu; two outputs and the input again."""
    random = np.random.default_rng(0)
    graph = Graph("network", {"N": (1, 8)})
    x = graph.input("x", TensorType(DType.F32, (N, 2, 3)))
    weight = graph.constant(random.standard_normal((4, 6)).astype(np.float32), "weight")
    flat = graph.add(Reshape((N, 6)), x)
    y = graph.add(Linear(), flat, weight)
    graph.output("y", graph.add(Gelu(), y))
    graph.output("rows", graph.add(Slice(0, 0, N), y))
    graph.output("x", x)
    graph.output("weight", weight)
    return graph


@pytest.mark.parametrize("size", [1, 2, 8])
def test_a_network_at_several_sizes(size: int) -> None:
    x = np.random.default_rng(1).standard_normal((size, 2, 3)).astype(np.float32)
    graph = network()
    (weight,) = (value.data for value in graph.constants())
    y, rows, same, constant = run_reference(graph, [x])
    wanted = F.linear(torch.from_numpy(x).double().flatten(1), torch.from_numpy(weight).double())
    np.testing.assert_allclose(rows, wanted.numpy(), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(y, F.gelu(wanted).numpy(), rtol=1e-6, atol=1e-7)
    assert same is x
    assert constant is weight


def test_inputs_that_do_not_fit() -> None:
    graph = network()
    for inputs, message in [
        ([], "graph network: expected 1 inputs, got 0"),
        ([np.zeros((1, 2, 3))], "input x: expected f32[N,2,3], got f64[1,2,3]"),
        ([np.zeros((1, 2, 4), np.float32)], "input x: expected f32[N,2,3], got f32[1,2,4]"),
        ([np.zeros((1, 2), np.float32)], "input x: expected f32[N,2,3], got f32[1,2]"),
        ([np.zeros((9, 2, 3), np.float32)], "size N: expected 1..8, got 9"),
        ([np.zeros((0, 2, 3), np.float32)], "size N: expected 1..8, got 0"),
    ]:
        with pytest.raises(ShapeError) as caught:
            run_reference(graph, inputs)
        assert str(caught.value) == message


def test_sizes_agree_over_inputs() -> None:
    graph = Graph("two", {"N": (1, 8)})
    graph.input("a", TensorType(DType.F32, (N * 2,)))
    graph.input("b", TensorType(DType.F32, (N,)))
    assert bind_sizes(graph, [np.zeros(6, np.float32), np.zeros(3, np.float32)]) == {"N": 3}
    with pytest.raises(ShapeError, match=r"input a: expected f32\[N\*2\], got f32\[5\]"):
        bind_sizes(graph, [np.zeros(5, np.float32), np.zeros(3, np.float32)])


def test_a_size_that_no_input_has_by_itself() -> None:
    graph = Graph("one", {"N": (1, 8)})
    graph.input("a", TensorType(DType.F32, (N * 2,)))
    with pytest.raises(GraphError, match="expected sizes that inputs have by themselves"):
        bind_sizes(graph, [np.zeros(6, np.float32)])


def test_dead_values_are_freed() -> None:
    graph = Graph("chain")
    value = graph.input("x", TensorType(DType.F32, (1 << 18,)))
    for _ in range(12):
        value = graph.add(Neg(), value)
        graph.add(Neg(), value)  # used by nothing
    graph.output("y", value)
    x = np.ones(1 << 18, np.float32)
    tracemalloc.start()
    (y,) = run_reference(graph, [x])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert y[0] == 1
    assert peak < 8 * x.nbytes  # twice that, were all 24 kept; one value takes float64 while it is made


def test_bfloat16_is_rounded_after_every_op() -> None:
    x = torch.randn(64, generator=torch.Generator().manual_seed(0)).bfloat16()
    graph = Graph("bf16")
    a = graph.input("x", TensorType(DType.BF16, (64,)))
    b = graph.add(Exp(), a)
    graph.output("y", graph.add(Add(), b, a))
    (y,) = run_reference(graph, [to_bfloat16(x.float().numpy())])
    assert np.array_equal(from_bfloat16(y), (x.exp() + x).float().numpy())


def test_apply_op_gives_arrays_of_rank_0() -> None:
    (y,) = apply_op(Exp(), np.array(0, np.float32))
    assert isinstance(y, np.ndarray)
    assert (y.shape, y.dtype) == ((), np.float32)
