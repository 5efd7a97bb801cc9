"""Linear lowered: every tail of rows and columns, epilogues, packed weights."""

import numpy as np
import pytest

from alula.codegen.kernels.tile import panel_width, tile_shape
from alula.codegen.packing import pack_weights
from alula.core.errors import CodegenError
from alula.ir.graph import Graph
from alula.ops.elementwise import Add, Gelu, Mul, Relu
from alula.ops.matmul import Linear
from alula.ops.shape import Reshape, Slice, Transpose
from tests.codegen.harness import N, assert_close, assert_summed, f32, joined, random_array, run


def linear(target, rows, k, n, f=lambda x: x, bias=True):
    """x[N,rows,k] through one packed linear, `f` applied to its weights."""
    graph = Graph("linear", {"N": (1, 64)})
    weights = [f(random_array(f32(n, k), 1, 8)), f(random_array(f32(n), 1, 9))][: 1 + bias]
    x = graph.input("x", f32(N, rows, k))
    graph.output("y", graph.add(Linear(), x, *(graph.constant(weight) for weight in weights)))
    pack_weights(graph, target)
    return graph


def checked(compiled, target, cases):
    """Linears of several (rows, k, n, bias), in one program."""

    def build(f):
        return joined(*(linear(target, rows, k, n, f, bias) for rows, k, n, bias in cases))

    result = run(compiled(build(lambda x: x), target))
    assert_summed(result, build, terms=max(k for _, k, _, _ in cases) + 1)
    assert result.compiled.labels == ["linear"] * len(cases)


def test_rows_around_the_tile(target, compiled):
    checked(compiled, target, [(rows, 10, 40, True) for rows in (1, 2, 5, 6, 7, 13, 14, 15, 29)])


def test_columns_around_vectors_and_panels(target, compiled):
    checked(compiled, target, [(3, 10, n, n % 2 == 0) for n in (1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 65)])


def test_inner_sizes(target, compiled):
    for k in (0, 1, 2, 300):
        checked(compiled, target, [(3, k, 20, True)])


def test_no_rows_need_no_step(target, compiled):
    result = run(compiled(linear(target, 0, 4, 5), target))
    assert result.outputs[0].shape == (5, 0, 5)
    assert result.compiled.labels == []


def test_rows_beyond_one_block_of_the_cache(target, compiled):
    k = 4096  # few rows of it fit the second-level cache
    rows = target.l2_bytes // 2 // (4 * k) * 2 + 3
    graph = linear(target, rows, k, 20)
    result = run(compiled(graph, target), batch=3)
    assert_summed(result, lambda f: linear(target, rows, k, 20, f), terms=k + 1)


def test_epilogue_runs_on_the_tile(target, compiled):
    graph = Graph("epilogue", {"N": (1, 64)})
    x, residual = graph.input("x", f32(N, 9, 20)), graph.input("r", f32(N, 9, 37))
    weight, bias, scale = (graph.constant(random_array(f32(*s), 1, n)) for n, s in enumerate(((37, 20), (37,), (37,))))
    value = graph.add(Gelu(), graph.add(Linear(), x, weight, bias))
    graph.output("y", graph.add(Add(), residual, graph.add(Mul(), value, scale)))
    pack_weights(graph, target)
    result = run(compiled(graph, target))
    assert_close(result, ulps=60, floor=8.0)
    assert result.compiled.labels == ["linear+gelu+mul+add"]


def test_a_value_used_twice_ends_the_epilogue(target, compiled):
    graph = Graph("twice", {"N": (1, 64)})
    weight = graph.constant(random_array(f32(37, 20), 1))
    value = graph.add(Linear(), graph.input("x", f32(N, 9, 20)), weight)
    graph.output("y", graph.add(Mul(), graph.add(Relu(), value), value))
    pack_weights(graph, target)
    assert run(compiled(graph, target)).compiled.labels == ["linear", "relu+mul"]


@pytest.mark.parametrize(
    ("view", "labels"),
    [
        (Slice(1, 2, 7), ["copy", "linear"]),
        (Slice(2, 3, 19), ["linear"]),
        (Transpose((0, 2, 1)), ["transpose", "linear"]),
        (Reshape((N * 4, 5, 10)), ["linear"]),
    ],
)
def test_rows_of_views(view, labels, target, compiled):
    def build(f):
        graph = Graph("views", {"N": (1, 64)})
        x = graph.add(view, graph.input("x", f32(N, 10, 20)))
        weight = graph.constant(f(random_array(f32(33, x.type.shape[-1]), 1)))
        graph.output("y", graph.add(Linear(), x, weight))
        pack_weights(graph, target)
        return graph

    result = run(compiled(build(lambda x: x), target))
    assert_summed(result, build, terms=20)
    assert result.compiled.labels == labels


def test_weights_must_be_packed_constants(target, compiled):
    graph = Graph("weights", {"N": (1, 64)})
    graph.output("y", graph.add(Linear(), graph.input("x", f32(N, 4)), graph.input("w", f32(3, 4)), origin="m.py:7"))
    with pytest.raises(CodegenError, match=r"linear m\.py:7: expected a constant weight, got one computed at run time"):
        pack_weights(graph, target)


def test_macs_are_reported(target, compiled):
    (step,) = compiled(linear(target, 9, 20, 37), target).program.steps
    assert step.macs == 9 * 20 * 37
    assert step.shape == "f32[N,9,37]"


def test_tiles_fit_the_registers(target):
    rows, vectors = tile_shape(target)
    assert rows * vectors + vectors + 1 <= target.vector_registers
    assert panel_width(target) == vectors * target.lanes()
    assert np.dtype(np.float32).itemsize * target.lanes() * 8 == target.vector_bits
