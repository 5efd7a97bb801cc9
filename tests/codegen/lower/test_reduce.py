"""Reductions lowered: lanes along kept and along reduced axes, views, NaN, nothing to reduce."""

import numpy as np
import pytest

from alula.ops.reduce import ReduceMax, ReduceMean, ReduceMin, ReduceSum
from alula.ops.shape import Expand, Slice, Transpose
from tests.codegen.harness import N, assert_close, assert_equal, assert_summed, f32, graph_of, run, same_bits

SUMS = [ReduceSum, ReduceMean]
ORDERS = [ReduceMax, ReduceMin]
SHAPE = (N, 7, 3, 19)


def reduced(op, shape=SHAPE, before=()):
    """The graph of one reduction, after the views `before` it."""
    ops = [*before, op]
    return graph_of(ops[0], f32(*shape), chain=ops[1:])


@pytest.mark.parametrize("axes", [(1,), (2,), (3,), (1, 2), (1, 3), (2, 3), (1, 2, 3)])
@pytest.mark.parametrize("op", [ReduceMean, ReduceMax])
def test_every_set_of_axes(op, axes, target, compiled):
    kept, dropped = (compiled(reduced(op(axes, keepdims)), target) for keepdims in (True, False))
    result = run(dropped)
    if op is ReduceMax:
        assert_equal(result)
    else:
        assert_summed(result, lambda f: reduced(op(axes)), terms=7 * 3 * 19)
    (with_ones,) = kept(*result.inputs)
    assert with_ones.shape == result.outputs[0].shape[:1] + tuple(
        1 if axis in axes else SHAPE[axis] for axis in range(1, 4)
    )
    assert with_ones.tobytes() == result.outputs[0].tobytes()
    assert dropped.labels == [op.name]


@pytest.mark.parametrize("width", [1, 7, 8, 9, 15, 16, 17, 63, 64, 65])
@pytest.mark.parametrize("axis", [1, 2])
def test_every_width(width, axis, target, compiled):
    shape = (N, 5, width)
    result = run(compiled(reduced(ReduceSum((axis,)), shape), target))
    assert_summed(result, lambda f: reduced(ReduceSum((axis,)), shape), terms=width if axis == 2 else 5)


def test_targets_give_the_same_bits(compiled):
    from alula.core.target import AVX2, AVX512
    from tests.conftest import missing_flags

    if missing := missing_flags("avx512"):
        pytest.skip(f"avx512: this CPU lacks {', '.join(missing)}")
    for axes in ((3,), (1,), (1, 2, 3)):
        first, second = (run(compiled(reduced(ReduceSum(axes)), target)) for target in (AVX2, AVX512))
        same_bits(first.outputs, second.outputs)


@pytest.mark.parametrize("op", [ReduceSum, ReduceMax, ReduceMin])
@pytest.mark.parametrize(
    ("view", "axes"),
    [
        (Transpose((0, 3, 1, 2)), (2, 3)),
        (Transpose((0, 3, 1, 2)), (1,)),
        (Slice(3, 2, 17, 3), (3,)),
        (Slice(3, 2, 17, 3), (1, 2)),
        (Expand((2, *SHAPE)), (0, 2)),
    ],
)
def test_views_are_reduced_where_they_lie_or_after_a_copy(op, view, axes, target, compiled):
    result = run(compiled(reduced(op(axes), before=[view]), target))
    assert_close(result, ulps=40, floor=1.0)
    copied = isinstance(view, Slice)
    assert result.compiled.labels == ["copy"] * copied + [op.name]


@pytest.mark.parametrize("op", ORDERS)
@pytest.mark.parametrize("axis", [1, 2])
def test_nan_wins_and_infinities_count(op, axis, target, compiled):
    x = np.zeros((5, 18, 18), np.float32)
    for n in range(18):
        x[1, n, n], x[2, n, n], x[3, n, n] = np.nan, np.inf, -np.inf
    x[4] = -1
    assert_close(run(compiled(reduced(op((axis,)), (N, 18, 18)), target), [x]), ulps=0)


@pytest.mark.parametrize("op", [*SUMS, *ORDERS])
def test_nothing_to_reduce(op, target, compiled):
    for shape, axes in (((N, 0, 9), (1,)), ((N, 9, 0), (2,)), ((N, 0), (1,)), ((N, 9), ()), ((N, 1, 1), (1, 2))):
        assert_close(run(compiled(reduced(op(axes), shape), target)), ulps=0)


@pytest.mark.parametrize("op", [*SUMS, *ORDERS])
def test_no_result_or_one(op, target, compiled):
    for shape, axes in (((N, 0, 9), (2,)), ((3, 5), (0, 1)), ((), ()), ((N, 33), (0,))):
        assert_close(run(compiled(reduced(op(axes), shape), target)), ulps=8, floor=1.0)
