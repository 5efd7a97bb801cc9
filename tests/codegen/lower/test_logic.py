"""Comparisons, logic, choices and steps lowered, and elementwise ops on elements as they are stored."""

import numpy as np
import pytest

from alula.codegen.kernels.native import NATIVE
from alula.core.dtype import DType, cast_array
from alula.ir.types import TensorType
from alula.ops.elementwise import Abs, Add, Cast, Div, Maximum, Minimum, Mul, Neg, Pow, Reciprocal, Relu, Sqrt, Sub
from alula.ops.logic import (
    And,
    Ceil,
    Equal,
    Floor,
    IsNan,
    Less,
    LessOrEqual,
    Not,
    Or,
    Round,
    ShiftLeft,
    ShiftRight,
    Sign,
    Where,
    Xor,
)
from tests.codegen.harness import N, assert_close, assert_equal, f32, graph_of, joined, run

SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -2.0, 2.5, -2.5, 0.5, 1.5, -0.5], np.float32)
COMPARISONS = [Equal(), Less(), LessOrEqual()]
STEPS = [Floor(), Ceil(), Round(), Sign(), IsNan()]
INTEGERS = [DType.U8, DType.U16, DType.U32, DType.U64, DType.I8, DType.I16, DType.I32, DType.I64]
SIGNED = [DType.I8, DType.I16, DType.I32, DType.I64, DType.F64]


def test_steps(target, compiled):
    graph = joined(*(graph_of(op, f32(1, SPECIAL.size)) for op in STEPS))
    result = run(compiled(graph, target), [SPECIAL[None]] * len(STEPS))
    assert_close(result, ulps=0)
    assert result.compiled.labels == [op.name for op in STEPS]


def test_comparisons(target, compiled):
    x, y = (np.array(grid, np.float32).reshape(1, -1) for grid in np.meshgrid(SPECIAL, SPECIAL))
    graph = joined(*(graph_of(op, *[f32(1, x.size)] * 2) for op in COMPARISONS))
    assert_equal(run(compiled(graph, target), [x, y] * len(COMPARISONS)))


def boolean(*shape):
    return TensorType(DType.BOOL, shape)


def test_logic(target, compiled):
    ops = [And(), Or(), Xor(), Equal()]
    graphs = [graph_of(op, boolean(N, 3, 17), boolean(3, 1)) for op in ops] + [graph_of(Not(), boolean(N, 17))]
    assert_equal(run(compiled(joined(*graphs), target)))


@pytest.mark.parametrize("dtype", [DType.F32, DType.F16, DType.BOOL, DType.U8, DType.I64, DType.F64], ids=str)
def test_where(dtype, target, compiled):
    other = TensorType(dtype, (3, 1))
    graph = graph_of(Where(), boolean(N, 1, 17), TensorType(dtype, (N, 3, 17)), other)
    assert_equal(run(compiled(graph, target)))


def test_a_chain_around_a_comparison(target, compiled):
    graph = graph_of(Abs(), f32(N, 33))
    x = graph.outputs[0][1]
    above = graph.add(Less(), graph.constant(np.float32(0.5)), graph.add(Mul(), x, x))
    graph.output("z", graph.add(Where(), above, graph.add(Neg(), x), graph.constant(np.float32(0))))
    assert_equal(run(compiled(graph, target)))


@pytest.mark.parametrize("dtype", [*INTEGERS, DType.F64], ids=str)
def test_stored_numbers(dtype, target, compiled):
    two = [Add(), Sub(), Mul(), Maximum(), Minimum(), *COMPARISONS]
    one = [Abs(), Relu(), *([Neg(), Sign()] if dtype in SIGNED else [])]
    one += [Sqrt(), Floor(), Ceil(), Round(), Reciprocal()] if dtype is DType.F64 else []
    two += [Div()] if dtype is DType.F64 else []
    graphs = [graph_of(op, TensorType(dtype, (N, 3, 17)), TensorType(dtype, (3, 1))) for op in two]
    graphs += [graph_of(op, TensorType(dtype, (N, 17))) for op in one]
    result = run(compiled(joined(*graphs), target))
    assert_close(result, ulps=0)
    assert result.compiled.labels == [op.name for op in (*two, *one)]


CASTS = [*INTEGERS, DType.F16, DType.F32, DType.F64, DType.BOOL]


@pytest.mark.parametrize("source", CASTS, ids=str)
def test_casts(source, target, compiled):
    refused = {(DType.F32, DType.F32), (DType.F64, DType.F16)}
    targets = [dtype for dtype in CASTS if (source, dtype) not in refused]
    numbers = np.array([0, 1, 2, 3, 100, 127] * 5).reshape(5, 6)
    signed = numbers if source.value.startswith("u") or source is DType.BOOL else numbers * np.array([1, -1] * 3)
    held = [
        cast_array(np.abs(signed) if dtype.value.startswith("u") and source.is_float else signed, source)
        for dtype in targets
    ]
    graph = joined(*(graph_of(Cast(dtype), TensorType(source, (N, 6))) for dtype in targets))
    assert_equal(run(compiled(graph, target), held))


def test_every_native_rule_is_tested_here():
    tested = {Add, Sub, Mul, Div, Neg, Abs, Relu, Maximum, Minimum, Sqrt, Reciprocal, Cast, Where}
    tested |= {Equal, Less, LessOrEqual, Sign, Floor, Ceil, Round, And, Or, Xor, Not}
    assert tested == set(NATIVE) - {Pow, ShiftLeft, ShiftRight}  # those are tested with the maps
