"""Attention lowered without its matrix of scores: tails of queries, keys and columns, large scores."""

import numpy as np
import pytest

from alula.codegen.program import assemble, compile_graph, lower_for
from alula.core.dtype import DType
from alula.core.errors import CodegenError
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.attention import Attention
from alula.ops.elementwise import Cast, Neg
from alula.ops.quantize import Quantize
from alula.ops.reference import run_reference
from alula.ops.shape import Reshape, Slice, Transpose
from tests.codegen.harness import N, assert_close, assert_narrowed, f32, graph_of, joined, random_array, run

SIZES = [  # heads, queries, keys, columns of q and k, columns of v
    (1, 1, 1, 1, 1),
    (3, 5, 17, 8, 8),
    (2, 6, 16, 16, 16),
    (2, 14, 33, 32, 32),
    (4, 15, 31, 7, 9),
    (1, 29, 65, 33, 17),
    (12, 1, 197, 32, 32),
    (1, 500, 17, 8, 8),  # queries in blocks of as many as there are keys
    (3, 64, 60, 16, 16),  # a number of heads that some numbers of threads do not divide
]


def attention(heads, n, m, d, v):
    return graph_of(Attention(heads, d**-0.5), f32(N, n, heads * d), f32(N, m, heads * d), f32(N, m, heads * v))


def test_sizes(target, compiled):
    result = run(compiled(joined(*(attention(*size) for size in SIZES)), target))
    assert_close(result, ulps=30, floor=1.0)
    assert result.compiled.labels == ["attention"] * len(SIZES)


BIASES = [(1, 1, 1), (1, 3, 14), (4, 1, 14), (4, 3, 1), (1, 3, 1)]  # periods, heads, queries


def biased(bias, m=17, wide=False, byte_values=False, negative=None):
    """Attention of windows: four for each image."""
    graph = Graph("biased", {"N": (1, 64)})
    inputs = [graph.input(s, f32(N, 4, a, 24)) for s, a in (("q", 14), ("k", m), ("v", m))]
    operands = [graph.add(Reshape((N * 4, *x.type.shape[2:])), x) for x in inputs]
    operands = [graph.add(Cast(DType.BF16), x) if wide else x for x in operands]
    array = np.random.default_rng(3).standard_normal((*bias, m)).astype(np.float32)
    if negative is not None:
        array[..., :5] = negative
    op = Attention(3, 8**-0.5, wide, byte_values)
    graph.output("y", graph.add(op, *operands, graph.constant(array)))
    return graph


def test_biases(target, compiled):
    graphs = [biased(bias, m) for bias in BIASES for m in (16, 17)]
    result = run(compiled(joined(*graphs), target))
    assert_close(result, ulps=60, floor=1.0)
    assert result.compiled.labels == ["attention"] * len(graphs)


@pytest.mark.parametrize("negative", [-1e4, -3.4028235e38, -np.inf])
def test_masks_hide(negative, target, compiled):
    program = compiled(biased((4, 1, 14), negative=negative), target)
    result = run(program)
    assert_close(result, ulps=60, floor=1.0)
    q, k, v = result.inputs
    hidden = run(program, [q, np.where(np.arange(17)[:, None] < 5, 7, k).astype(np.float32), v])
    assert np.array_equal(hidden.outputs[0], result.outputs[0])


@pytest.mark.parametrize(("wide", "byte_values"), [(True, False), (True, True), (False, True)])
def test_biases_of_narrow_products(wide, byte_values, every_target, compiled):
    def build():
        return joined(*(biased(bias, 33, wide, byte_values, negative=-np.inf) for bias in BIASES))

    result = run(compiled(build(), every_target))
    assert_mixed(result, build, 2.0**-7 if not byte_values else 2.0**-13)
    assert {label for label in result.compiled.labels if label not in ("cast", "copy")} == {"attention"}


def test_a_bias_that_is_computed(target, compiled):
    graph = Graph("masked", {"N": (1, 64)})
    q, k, v = (graph.input(name, f32(N, rows, 16)) for name, rows in (("q", 5), ("k", 9), ("v", 9)))
    bias = graph.input("bias", f32(N, 2, 9, 5))
    turned = graph.add(Transpose((0, 1, 3, 2)), graph.add(Neg(), bias))
    graph.output("y", graph.add(Attention(2, 0.25), q, k, v, turned))
    result = run(compiled(graph, target))
    assert_close(result, ulps=30, floor=1.0)
    assert result.compiled.labels == ["neg", "transpose", "attention"]


@pytest.mark.parametrize("factor", [30.0, 3000.0])
def test_large_scores_do_not_overflow(factor, target, compiled):
    program = compiled(attention(2, 7, 20, 16, 16), target)
    q, k, v = (random_array(value.type, 5, n) for n, value in enumerate(program.graph.inputs))
    result = run(program, [(q * factor).astype(np.float32), k, v])
    assert np.isfinite(result.outputs[0]).all()
    assert_close(result, ulps=4 * factor, floor=1.0)


def test_parts_of_one_projection_are_read_where_they_lie(target, compiled):
    graph = Graph("parts", {"N": (1, 64)})
    x = graph.input("qkv", f32(N, 9, 96))
    graph.output("y", graph.add(Attention(2, 0.25), *(graph.add(Slice(2, s, s + 32), x) for s in (0, 32, 64))))
    result = run(compiled(graph, target))
    assert_close(result, ulps=30, floor=1.0)
    assert result.compiled.labels == ["attention"]


WIDE_SIZES = [  # heads, queries, keys, columns of q and k, columns of v
    (1, 1, 1, 2, 1),
    (3, 5, 17, 8, 7),
    (2, 6, 16, 32, 16),
    (2, 15, 33, 32, 33),
    (1, 16, 31, 64, 15),
    (3, 33, 65, 10, 9),
    (12, 1, 197, 32, 32),
    (1, 49, 196, 32, 32),
]
BYTES = [False, True]
COARSE = 4e-6  # of each weight, and of each of their sums in float32


def narrow_attention(size, byte_values=False, wide=True, f=lambda x: x, chain=()):
    """Attention of inputs that are rounded to bfloat16 first, where it is wide."""
    heads, n, m, d, v = size
    graph = Graph("wide", {"N": (1, 64)})
    inputs = [graph.input(s, f32(N, a, heads * w)) for s, a, w in (("q", n, d), ("k", m, d), ("v", m, v))]
    operands = [graph.add(Cast(DType.BF16), x) if wide else x for x in inputs]
    value = graph.add(Attention(heads, d**-0.5, wide, byte_values), *operands)
    for op in chain:
        value = graph.add(op, value)
    graph.output("y", value)
    return graph


def assert_mixed(result, build, steps):
    """Off by at most `steps` of what the same weights make of the sizes of the values."""
    _, _, *sizes = (np.abs(array) if n % 3 == 2 else array for n, array in enumerate(result.inputs))
    inputs = [np.abs(array) if n % 3 == 2 else array for n, array in enumerate(result.inputs)]
    sizes = run_reference(build(), inputs)
    for ours, exact, size in zip(result.outputs, result.expected, sizes, strict=True):
        off = np.abs(ours.astype(np.float64) - exact)
        assert np.all(off <= steps * size + 1e-30), f"off by {np.max(off / np.maximum(size, 1e-30))}"


@pytest.mark.parametrize("byte_values", BYTES)
def test_a_query_that_is_not_a_number_has_an_answer_that_is_none(byte_values, target, compiled):
    _, n, m, d, v = size = (1, 5, 17, 8, 7)
    q, k, values = (
        np.random.default_rng(3).standard_normal((1, a, w), np.float32) for a, w in ((n, d), (m, d), (m, v))
    )
    q[0, 2, 1] = np.nan
    (answer,) = compiled(narrow_attention(size, byte_values), target)(q, k, values)
    assert np.isnan(answer[0, 2]).all()
    assert np.isfinite(np.delete(answer[0], 2, 0)).all()


@pytest.mark.parametrize("factor", [1.0, 30.0])
def test_wide(factor, every_target, compiled):
    """Weights are rounded to 8 bits: 2**-9 of each, and as much of what float32 made of scores."""

    def build():
        return joined(*map(narrow_attention, WIDE_SIZES))

    program = compiled(build(), every_target)
    inputs = [
        random_array(value.type, 5, n) * np.float32(factor if n % 3 == 0 else 1)
        for n, value in enumerate(program.graph.inputs)
    ]
    result = run(program, inputs)
    assert_mixed(result, build, 2.0**-8 + COARSE * factor)
    assert [label for label in program.labels if label not in ("cast", "copy")] == ["attention"] * len(WIDE_SIZES)
    assert {step.arithmetic for step in program.program.steps if step.macs} == {"bf16"}


@pytest.mark.parametrize("wide", [False, True])
def test_values_in_bytes(wide, every_target, compiled):
    """Weights keep 16 bits and products are exact, so that the reference, which rounds alike, is met closely."""

    def build():
        return joined(*(narrow_attention(size, True, wide) for size in WIDE_SIZES))

    program = compiled(build(), every_target)
    result = run(program)
    assert_mixed(result, build, 2.0**-14)
    macs = {step.label: (step.macs, step.byte_macs) for step in program.program.steps}
    heads, n, m, _, v = WIDE_SIZES[-1]
    assert macs["attention"][1] == heads * n * m * v


BYTE_SIZES = [(1, 1, 1, 4, 1), (3, 5, 17, 8, 7), (2, 15, 33, 36, 33), (1, 49, 196, 64, 32), (2, 197, 65, 64, 64)]


def attention_of_bytes(size, bias=False):
    heads, n, m, d, v = size
    inputs = [f32(N, n, heads * d), f32(N, m, heads * d), f32(N, m, heads * v), *[f32(N, 1, n, m)] * bias]
    return graph_of(Attention(heads, d**-0.5, byte_values=True, byte_scores=True), *inputs)


@pytest.mark.parametrize("bias", [False, True])
def test_scores_in_bytes(bias, every_target, compiled):
    """Keys far from 0 beside what tells them apart, and one twenty times as large: rows are rounded as they should be.

    The mean of the keys is rounded otherwise than in the reference, so that here and there a byte is off by one.
    """

    def build():
        return joined(*(attention_of_bytes(size, bias) for size in BYTE_SIZES))

    program = compiled(build(), every_target)
    inputs = [random_array(value.type, 5, n) for n, value in enumerate(program.graph.inputs)]
    for keys in inputs[1 :: 3 + bias]:
        keys += 30 * np.sin(np.arange(keys.shape[2]), dtype=np.float32)
        keys[:, 0] *= 20
    result = run(program, inputs)
    values = [np.abs(array) if n % (3 + bias) == 2 else array for n, array in enumerate(inputs)]
    for ours, exact, size in zip(result.outputs, result.expected, run_reference(build(), values), strict=True):
        off = np.abs(ours - exact) / (size + 1e-30)
        assert np.quantile(off, 0.9) <= 2.0**-13
        assert np.quantile(off, 0.99) <= 2.0**-11
        assert off.max() <= 0.02
    macs = {step.byte_macs == step.macs for step in program.program.steps if step.label == "attention"}
    assert macs == {True}


def test_scores_in_bytes_lose_little(target, compiled):
    """Beside float32: 1.1 % here, of which values as bytes alone make 0.6."""
    size = (2, 197, 197, 64, 64)
    graphs = attention_of_bytes(size), attention(*size)
    inputs = [random_array(value.type, 5, n) for n, value in enumerate(graphs[0].inputs)]
    ours, exact = (run(compiled(graph, target), inputs).outputs[0] for graph in graphs)
    assert np.linalg.norm(ours - exact) <= 0.015 * np.linalg.norm(exact)


def test_columns_of_zeros_and_single_keys_in_bytes(every_target, compiled):
    program = compiled(narrow_attention((2, 3, 9, 8, 5), True), every_target)
    q, k, v = (random_array(value.type, 5, n) for n, value in enumerate(program.graph.inputs))
    v[..., 3], v[:, 1:, 4] = 0, 0
    result = run(program, [q, k, v])
    assert np.all(result.outputs[0][..., 3] == 0)
    np.testing.assert_allclose(result.outputs[0], result.expected[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("byte_values", BYTES)
def test_large_scores_of_narrow_products(byte_values, every_target, compiled):
    program = compiled(narrow_attention((2, 7, 20, 32, 16), byte_values), every_target)
    q, k, v = (random_array(value.type, 5, n) for n, value in enumerate(program.graph.inputs))
    result = run(program, [(q * 3000).astype(np.float32), k, v])
    np.testing.assert_allclose(result.outputs[0], result.expected[0], rtol=0.02, atol=0.02)


@pytest.mark.parametrize("byte_values", BYTES)
def test_parts_of_a_narrow_projection(byte_values, every_target, compiled):
    """In the caller's memory, where nothing may be read beyond the last row, and in the arena."""

    def build(inside):
        graph = Graph("parts", {"N": (1, 64)})
        x = graph.input("qkv", TensorType(DType.F32 if inside else DType.BF16, (N, 9, 192)))
        x = graph.add(Cast(DType.BF16), x) if inside else x
        parts = [graph.add(Slice(2, s, s + 64), x) for s in (0, 64, 128)]
        graph.output("y", graph.add(Attention(2, 0.25, True, byte_values), *parts))
        return graph

    result = run(compiled(joined(build(True), build(False)), every_target))
    for ours, exact in zip(result.outputs, result.expected, strict=True):
        np.testing.assert_allclose(ours, exact, rtol=0.01, atol=0.02)
    copies = 1 if every_target.matrix else 0
    assert sorted(result.compiled.labels) == ["attention", "attention", "cast", *["copy"] * copies]


@pytest.mark.parametrize("op", [Cast(DType.BF16), Quantize(0.02, 120)], ids=lambda op: op.name)
def test_mixtures_are_narrowed_as_they_are_written(op, every_target, compiled):
    sizes = [(3, 5, 17, 8, 7), (2, 33, 20, 32, 33)]
    graphs = [narrow_attention(size, wide=False, chain=[op]) for size in sizes]
    graphs += [narrow_attention(size, True, chain=[op]) for size in sizes]
    result = run(compiled(joined(*graphs), every_target))
    assert_narrowed(result, share=0.02)
    labels = [label for label in result.compiled.labels if label not in ("cast", "copy")]
    assert labels == [f"attention+{op.name}"] * 4


def test_both_products_use_what_the_target_has(every_target):
    state = lower_for(
        joined(*(narrow_attention((2, 40, 64, 64, 32), byte_values) for byte_values in BYTES)), every_target
    )
    assemble(state)
    text = state.code.assembly()
    found = [name in text for name in ("tdpbf16ps", "tdpbusd")]
    assert found == [every_target.matrix] * 2
    assert ("vpmaddwd" in text) == (not every_target.int8_dot)
    assert ("vdpbf16ps" in text) == (every_target.bf16_dot and not every_target.matrix)


def test_odd_heads_are_refused(target):
    graph = graph_of(Attention(2, 0.5, wide=True), *[TensorType(DType.BF16, (N, 5, 14))] * 3)
    with pytest.raises(CodegenError, match="attention test:1: expected heads of even width for bf16, got 7"):
        compile_graph(graph, target)


def test_scores_in_bytes_take_the_product_of_bytes(every_target):
    state = lower_for(attention_of_bytes((2, 40, 64, 64, 32)), every_target)
    assemble(state)
    text = state.code.assembly()
    assert ("tdpbusd" in text) == every_target.matrix
    assert ("vpmaddwd" in text) == (not every_target.int8_dot)
    assert "vpdpbusd" in text or not every_target.int8_dot
