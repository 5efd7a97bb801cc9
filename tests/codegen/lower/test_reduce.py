"""Reductions lowered: lanes along kept and along reduced axes, views, NaN, nothing to reduce."""

import numpy as np
import pytest

from alula.core.dtype import DType
from alula.ir.types import TensorType
from alula.ops.elementwise import Cast
from alula.ops.reduce import ReduceMax, ReduceMean, ReduceMin, ReduceSum
from alula.ops.shape import Expand, Slice, Transpose
from tests.codegen.harness import (
    N,
    assert_close,
    assert_equal,
    assert_summed,
    f32,
    graph_of,
    joined,
    random_array,
    run,
    same_bits,
)

SUMS = [ReduceSum, ReduceMean]
ORDERS = [ReduceMax, ReduceMin]
SHAPE = (N, 7, 3, 19)
WIDTHS = (1, 7, 8, 9, 15, 16, 17, 63, 64, 65)


def reduced(op, shape=SHAPE, before=()):
    """The graph of one reduction, after the views `before` it."""
    ops = [*before, op]
    return graph_of(ops[0], f32(*shape), chain=ops[1:])


AXES = [(1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3)]


@pytest.mark.parametrize("op", [*SUMS, *ORDERS])
def test_every_set_of_axes(op, target, compiled):
    result = run(compiled(joined(*(reduced(op(axes)) for axes in AXES)), target))
    if op in ORDERS:
        assert_equal(result)
    else:
        assert_summed(result, lambda f: joined(*(reduced(op(axes)) for axes in AXES)), terms=7 * 3 * 19)
    assert result.compiled.labels == [op.name] * len(AXES)


@pytest.mark.parametrize("op", [ReduceMean, ReduceMax])
def test_bfloat16_is_widened_as_it_is_read(op, target, compiled):
    graphs = [graph_of(Cast(DType.F32), TensorType(DType.BF16, SHAPE), chain=[op(axes)]) for axes in AXES]
    result = run(compiled(joined(*graphs), target))
    assert_close(result, ulps=4, floor=1.0)
    assert result.compiled.labels == [op.name] * len(AXES)


def test_reduced_axes_can_stay(target, compiled):
    graphs = [reduced(ReduceSum(axes, keepdims)) for axes in AXES for keepdims in (True, False)]
    program = compiled(joined(*graphs), target)
    x = random_array(program.graph.inputs[0].type, 5)
    outputs = iter(run(program, [x] * len(graphs)).outputs)
    for axes, stay, go in zip(AXES, outputs, outputs, strict=True):
        assert stay.shape == tuple(1 if axis in axes else size for axis, size in enumerate((5, *SHAPE[1:])))
        assert stay.tobytes() == go.tobytes()


@pytest.mark.parametrize("axis", [1, 2])
def test_every_width(axis, target, compiled):
    def build(f):
        return joined(*(reduced(ReduceSum((axis,)), (N, 5, width)) for width in WIDTHS))

    assert_summed(run(compiled(build(np.abs), target)), build, terms=max(WIDTHS) if axis == 2 else 5)


def test_targets_give_the_same_bits(compiled):
    from alula.core.target import AVX2, AVX512
    from tests.conftest import missing_flags

    if missing := missing_flags("avx512"):
        pytest.skip(f"avx512: this CPU lacks {', '.join(missing)}")
    for axes in ((3,), (1,), (1, 2, 3)):
        first, second = (run(compiled(reduced(ReduceSum(axes)), target)) for target in (AVX2, AVX512))
        same_bits(first.outputs, second.outputs)


VIEWS = [
    (Transpose((0, 3, 1, 2)), (2, 3)),
    (Transpose((0, 3, 1, 2)), (1,)),
    (Expand((2, *SHAPE)), (0, 2)),
    (Slice(3, 2, 17, 3), (3,)),
    (Slice(3, 2, 17, 3), (1, 2)),
]


@pytest.mark.parametrize("op", [ReduceSum, ReduceMax])
def test_views_are_reduced_where_they_lie_or_after_a_copy(op, target, compiled):
    result = run(compiled(joined(*(reduced(op(axes), before=[view]) for view, axes in VIEWS)), target))
    assert_close(result, ulps=40, floor=1.0)
    assert result.compiled.labels == [op.name] * 3 + ["copy", op.name] * 2


@pytest.mark.parametrize("op", ORDERS)
def test_nan_wins_and_infinities_count(op, target, compiled):
    x = np.zeros((5, 18, 18), np.float32)
    for n in range(18):
        x[1, n, n], x[2, n, n], x[3, n, n] = np.nan, np.inf, -np.inf
    x[4] = -1
    graphs = [reduced(op((axis,)), (N, 18, 18)) for axis in (1, 2)]
    assert_close(run(compiled(joined(*graphs), target), [x, x]), ulps=0)


EMPTY = [((N, 0, 9), (1,)), ((N, 9, 0), (2,)), ((N, 0), (1,)), ((N, 9), ()), ((N, 1, 1), (1, 2)), ((N, 0, 9), (2,))]
WITHOUT_BATCH = [((3, 5), (0, 1)), ((), ()), ((N, 33), (0,))]


@pytest.mark.parametrize("op", [*SUMS, *ORDERS])
def test_nothing_to_reduce_and_no_result(op, target, compiled):
    for shapes in (EMPTY, WITHOUT_BATCH):
        graphs = [reduced(op(axes), shape) for shape, axes in shapes]
        assert_close(run(compiled(joined(*graphs), target)), ulps=8, floor=1.0)
