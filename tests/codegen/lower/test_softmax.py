"""Softmax lowered: rows of every length, other axes, rows that overflow."""

import numpy as np
import pytest

from alula.core.errors import CodegenError
from alula.ops.shape import Transpose
from alula.ops.softmax import Softmax
from tests.codegen.harness import N, assert_close, f32, graph_of, joined, run

WIDTHS = (1, 7, 8, 9, 15, 16, 17, 31, 196)


def test_last_axis_is_a_few_ulps_from_float64(target, compiled):
    result = run(compiled(joined(*(graph_of(Softmax(2), f32(N, 3, width)) for width in WIDTHS)), target))
    assert_close(result, ulps=12 + max(WIDTHS) / 16)
    assert result.compiled.labels == ["softmax"] * len(WIDTHS)


def test_other_axes_go_through_a_transposed_copy(target, compiled):
    graphs = [graph_of(Softmax(axis), f32(N, 9, 5, 17)) for axis in (1, 2)]
    result = run(compiled(joined(*graphs), target))
    assert_close(result, ulps=13)
    assert result.compiled.labels == ["transpose", "softmax", "transpose"] * 2


def test_rows_of_a_transposed_view_need_one_copy(target, compiled):
    result = run(compiled(graph_of(Transpose((0, 2, 1)), f32(N, 20, 18), chain=[Softmax(2)]), target))
    assert_close(result, ulps=14)
    assert result.compiled.labels == ["transpose", "softmax"]


def test_infinities_and_nan_come_out_as_in_the_reference(target, compiled):
    x = np.zeros((5, 19), np.float32)
    x[0, 3], x[1], x[2, 18], x[3, 7], x[4] = -np.inf, -np.inf, np.nan, np.inf, np.linspace(-200, 3e38, 19)
    result = run(compiled(graph_of(Softmax(1), f32(N, 19)), target), [x])
    assert_close(result, ulps=4)
    assert np.isnan(result.outputs[0]).any(axis=1).tolist() == [False, True, True, True, False]


def test_rows_as_long_as_the_batch_are_refused(target, compiled):
    with pytest.raises(CodegenError, match="softmax test:1: expected a fixed row length, got N"):
        compiled(graph_of(Softmax(0), f32(N, 3)), target)
