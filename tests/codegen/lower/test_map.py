"""Elementwise nodes lowered: every op, chains in one kernel, broadcasting, strided views, casts, refused dtypes."""

import numpy as np
import pytest

from alula.codegen.kernels.elementwise import RULES
from alula.core.dtype import DType
from alula.core.errors import CodegenError
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.elementwise import (
    Abs,
    Add,
    Cast,
    Clip,
    Div,
    Erf,
    Exp,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Log,
    Maximum,
    Minimum,
    Mul,
    Neg,
    Normalize,
    Pow,
    Reciprocal,
    Relu,
    Rsqrt,
    Sigmoid,
    Silu,
    Sqrt,
    Sub,
    Tanh,
)
from alula.ops.logic import And, Not, Or, ShiftLeft, ShiftRight, Xor
from alula.ops.norm import BatchNorm
from alula.ops.quantize import Dequantize, Quantize
from alula.ops.shape import Expand, Slice, Transpose
from alula.ops.trigonometry import Acos, Acosh, Asin, Asinh, Atan, Atanh, Cos, Cosh, Sin, Sinh, Tan
from tests.codegen.harness import N, assert_close, assert_equal, assert_summed, f32, graph_of, joined, random_array, run

EXACT = [Neg(), Abs(), Relu(), LeakyRelu(0.25), Clip(-0.5, 1.0), HardSigmoid(), HardSwish()]
POSITIVE = [Log(), Sqrt(), Rsqrt(), Reciprocal()]
CURVED = [Exp(), Erf(), Tanh(), Sigmoid(), Silu(), Gelu("none"), Gelu("tanh")]
TRIGONOMETRIC = [Sin(), Cos(), Tan(), Asin(), Acos(), Atan(), Sinh(), Cosh(), Asinh(), Acosh(), Atanh()]
BINARY = [Add(), Sub(), Mul(), Div(), Maximum(), Minimum()]
WIDTHS = (1, 7, 8, 9, 15, 16, 17, 33)


def each(ops, operands=1):
    """Every op on inputs of every width, in one graph."""
    return joined(*(graph_of(op, *[f32(N, 3, width)] * operands) for op in ops for width in WIDTHS))


@pytest.mark.parametrize(("ops", "ulps"), [(EXACT, 2), (CURVED, 3)], ids=["exact", "curved"])
def test_ops_of_one_operand(ops, ulps, target, compiled):
    result = run(compiled(each(ops), target))
    assert_close(result, ulps=ulps, floor=1.0)
    assert result.compiled.labels == [op.name for op in ops for _ in WIDTHS]


def test_ops_of_positive_numbers(target, compiled):
    program = compiled(each(POSITIVE), target)
    inputs = [np.abs(random_array(value.type, 5, n)) for n, value in enumerate(program.graph.inputs)]
    assert_close(run(program, inputs), ulps=2)


def test_trigonometry(target, compiled):
    program = compiled(each(TRIGONOMETRIC), target)
    inputs = [np.tanh(random_array(value.type, 5, n)) for n, value in enumerate(program.graph.inputs)]
    for number in range(len(WIDTHS)):
        inputs[TRIGONOMETRIC.index(Acosh()) * len(WIDTHS) + number] += 2
    result = run(program, inputs)
    assert_close(result, ulps=1)
    assert result.compiled.labels == [op.name for op in TRIGONOMETRIC for _ in WIDTHS]


def test_ops_of_two_operands(target, compiled):
    assert_close(run(compiled(each(BINARY, operands=2), target)), ulps=1)


def test_pow(target, compiled):
    base, power = (random_array(f32(5, 33), 5, n) for n in range(2))
    result = run(compiled(graph_of(Pow(), f32(N, 33), f32(N, 33)), target), [np.abs(base), power])
    assert_close(result, ulps=1)


def test_nan_and_infinities(target, compiled):
    values = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -2.0], np.float32)
    x, y = (np.array(grid, np.float32).reshape(1, -1) for grid in np.meshgrid(values, values))
    one, two = (Relu(), Clip(-1.0, 1.0), LeakyRelu(0.5)), (Maximum(), Minimum())
    graphs = [graph_of(op, *[f32(1, 49)] * count) for count, ops in ((1, one), (2, two)) for op in ops]
    assert_close(run(compiled(joined(*graphs), target), [x, x, x, x, y, x, y]), ulps=0)


BROADCASTS = [
    ((N, 3, 17), (17,)),
    ((N, 3, 17), (1,)),
    ((N, 3, 17), ()),
    ((N, 3, 17), (3, 1)),
    ((3, 17), (N, 1, 1)),
    ((N, 1, 17), (1, 5, 1)),
    ((N, 1), (1, 20)),
    ((N, 4, 1, 16), (3, 1)),
]


def test_broadcasting(target, compiled):
    graphs = [graph_of(Sub(), f32(*left), f32(*right)) for left, right in BROADCASTS]
    assert_close(run(compiled(joined(*graphs), target)), ulps=1)


VIEWS = [Transpose((0, 2, 1)), Slice(2, 1, 33, 2), Slice(2, 3, 20), Slice(1, 1, 5, 3), Expand((N, 6, 33))]


def test_views_are_read_where_they_lie(target, compiled):
    result = run(compiled(joined(*(graph_of(view, f32(N, 6, 33), chain=[Neg()]) for view in VIEWS)), target))
    assert_equal(result)
    assert result.compiled.labels == ["neg"] * len(VIEWS)


def test_a_chain_is_one_kernel(target, compiled):
    graph = Graph("chain", {"N": (1, 64)})
    x, y = graph.input("x", f32(N, 50)), graph.input("y", f32(N, 50))
    scale, bias = graph.constant(np.float32(1.5)), graph.constant(random_array(f32(50), 1))
    value = graph.add(Add(), graph.add(Mul(), x, scale), bias)
    graph.output("z", graph.add(Sub(), graph.add(Relu(), graph.add(Mul(), value, y)), y))
    result = run(compiled(graph, target))
    assert_close(result, ulps=8, floor=1.0)
    assert result.compiled.labels == ["mul+add+mul+relu+sub"]


def test_long_rows_are_cut_into_chunks(target, compiled):
    assert_equal(run(compiled(graph_of(Neg(), f32(N, 20011)), target)))
    assert_equal(run(compiled(graph_of(Neg(), f32(20011)), target)))


def test_batch_norm_left_alone(target, compiled):
    def build(channels):
        gamma, beta, mean, var = (random_array(f32(channels), 1, n) for n in range(4))
        return graph_of(BatchNorm(1e-3), f32(N, 5, channels), gamma, beta, mean, np.abs(var), chain=[Relu()])

    result = run(compiled(joined(*map(build, (1, 3, 4, 8, 17))), target))
    assert_close(result, ulps=8, floor=8.0)
    assert result.compiled.labels == ["batch_norm+relu"] * 5


@pytest.mark.parametrize("dtype", [DType.U8, DType.F32], ids=str)
def test_normalize_left_alone(dtype, target, compiled):
    def one(channels, f):
        scale, shift = 1 / (50 + np.arange(channels)), f(np.arange(channels) - 2.0)
        op = Normalize(tuple(scale.tolist()), tuple(shift.tolist()))
        return graph_of(op, TensorType(dtype, (N, 5, 7, channels)))

    def build(f):
        return joined(*(one(channels, f) for channels in (1, 3, 4, 17)))

    result = run(compiled(build(lambda x: x), target))
    assert_summed(result, build, terms=2)
    assert result.compiled.labels == ["normalize"] * 4


def test_normalize_of_single_rows_and_none(target, compiled):
    for shape in ((N, 3), (N, 0, 3), (N, 4, 0)):
        op = Normalize((0.5,) * shape[-1], (1.0,) * shape[-1])
        assert_equal(run(compiled(graph_of(op, TensorType(DType.U8, shape)), target)))


def test_cast_to_bfloat16(every_target, compiled):
    program = compiled(joined(*(graph_of(Cast(DType.BF16), f32(N, 3, width)) for width in WIDTHS)), every_target)
    inputs = [random_array(value.type, 5, n) for n, value in enumerate(program.graph.inputs)]
    for x in inputs:
        x[0, 0, 0], x[1, 0, 0], x[2, 0, 0] = np.inf, 1 + 2.0**-8, 1 + 3 * 2.0**-8  # a number that fits none, two ties
    assert_equal(run(program, inputs))
    assert program.labels == ["cast"] * len(WIDTHS)


@pytest.mark.parametrize("dtype", [DType.U8, DType.I8, DType.I32, DType.BOOL, DType.BF16, DType.F32], ids=str)
def test_cast_to_float(dtype, target, compiled):
    assert_equal(run(compiled(graph_of(Cast(DType.F32), TensorType(dtype, (N, 41))), target)))


@pytest.mark.parametrize("dtype", [DType.U8, DType.I8, DType.I32, DType.BOOL], ids=str)
def test_cast_from_float_truncates(dtype, target, compiled):
    graph = graph_of(Cast(dtype), f32(N, 41))
    x = np.linspace(0 if dtype is DType.U8 else -127.9, 127.9, 5 * 41).astype(np.float32).reshape(5, 41)
    x[:, 20] = 0
    assert_equal(run(compiled(graph, target), [x]))


@pytest.mark.parametrize("dtype", [DType.U8, DType.I8, DType.I32, DType.I64, DType.U64], ids=str)
def test_integers(dtype, target, compiled):
    ops = (Div(), Pow(), And(), Or(), Xor(), ShiftLeft(), ShiftRight())
    graphs = [graph_of(op, TensorType(dtype, (N, 41)), TensorType(dtype, (N, 41))) for op in ops]
    graphs.append(graph_of(Not(), TensorType(dtype, (N, 41))))
    random, bits = np.random.default_rng(0), 8 * dtype.bytes
    low = 0 if dtype in (DType.U8, DType.U64) else -3
    a = random.integers(low, 100, (5, 41)).astype(dtype.numpy)
    b = random.integers(low, bits + 2, (5, 41)).astype(dtype.numpy)
    a[0, :2], b[0, :2] = (np.iinfo(dtype.numpy).min, np.iinfo(dtype.numpy).max), -1 if low else 0
    assert_equal(run(compiled(joined(*graphs), target), [*[a, b] * len(ops), a]))


def test_cast_of_numbers_that_do_not_fit_is_the_same_everywhere(target, compiled):
    x = np.array([[np.nan, np.inf, -np.inf, 3e9, -3e9, 2147483520.0]], np.float32)
    (whole,) = compiled(graph_of(Cast(DType.I32), f32(1, 6)), target)(x)
    assert whole.tolist() == [[0, 2**31 - 1, -(2**31), 2**31 - 1, -(2**31), 2147483520]]


@pytest.mark.parametrize(
    ("op", "dtype", "operands", "text"),
    [
        (Add(), DType.F16, 2, "add test:1: expected f32, got f16"),
        (Pow(), DType.F64, 2, "pow test:1: expected f32, got f64"),
        (Exp(), DType.F64, 1, "exp test:1: expected f32, got f64"),
        (Relu(), DType.BF16, 1, "relu test:1: expected f32, got bf16"),
        (Cast(DType.BF16), DType.U16, 1, "cast test:1: expected f32, got u16"),
        (Cast(DType.I16), DType.BF16, 1, "cast test:1: expected f32, got bf16"),
    ],
)
def test_other_element_types_are_refused(op, dtype, operands, text, target, compiled):
    with pytest.raises(CodegenError) as caught:
        compiled(graph_of(op, *[TensorType(dtype, (N, 3))] * operands), target)
    assert str(caught.value) == text


def test_every_rule_is_tested_here():
    tested = [*EXACT, *POSITIVE, *CURVED, *TRIGONOMETRIC, *BINARY, Pow(), Cast(DType.F32), BatchNorm(0.0)]
    logic = (op for op in RULES if op.__module__ == "alula.ops.logic")
    elsewhere = {Quantize, Dequantize, *logic}  # tested there
    assert {type(op) for op in tested} | elsewhere == set(RULES)
