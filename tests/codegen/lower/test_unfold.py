"""Unfold and Fold lowered: windows with padding, stride and dilation, channels of every count."""

import pytest

from alula.core.dtype import DType
from alula.ir.types import TensorType
from alula.ops.shape import Transpose
from alula.ops.unfold import Fold, Unfold
from alula.ops.windows import window_counts
from tests.codegen.harness import N, assert_equal, assert_summed, f32, graph_of, run

WINDOWS = [
    ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    ((2, 3), (1, 2), (0, 1, 1, 0), (2, 1)),
    ((3, 1), (1, 3), (3, 0, 2, 0), (2, 1)),
    ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
]
CHANNELS = [0, 1, 7, 8, 16, 17, 128, 130]


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("dtype", [DType.F32, DType.U8, DType.I64], ids=str)
def test_unfold_moves_every_bit(window, dtype, target, compiled):
    result = run(compiled(graph_of(Unfold(*window), TensorType(dtype, (N, 5, 6, 17))), target))
    assert_equal(result)
    assert result.compiled.labels == ["unfold"]


@pytest.mark.parametrize("channels", CHANNELS)
def test_unfold_of_any_count_of_channels(channels, target, compiled):
    assert_equal(run(compiled(graph_of(Unfold(*WINDOWS[0]), f32(N, 5, 6, channels)), target)))


def test_unfold_of_padding_alone(target, compiled):
    assert_equal(run(compiled(graph_of(Unfold((2, 2), (1, 1), (1, 1, 1, 1)), f32(N, 0, 3, 4)), target)))


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("channels", [17, 130])
def test_fold_sums_in_the_order_of_places(window, channels, target, compiled):
    kernel, stride, pad, dilation = window
    counts = window_counts(5, 6, kernel, stride, pad, dilation)
    columns = f32(N, *counts, kernel[0] * kernel[1], channels)
    result = run(compiled(graph_of(Fold((5, 6), *window), columns), target))
    assert_summed(result, lambda f: graph_of(Fold((5, 6), *window), columns), terms=kernel[0] * kernel[1])
    assert result.compiled.labels == ["fold"]


@pytest.mark.parametrize("channels", CHANNELS)
def test_fold_of_any_count_of_channels(channels, target, compiled):
    op, columns = Fold((5, 6), *WINDOWS[0]), f32(N, 3, 3, 9, channels)
    assert_summed(run(compiled(graph_of(op, columns), target)), lambda f: graph_of(op, columns), terms=9)


def test_views(target, compiled):
    graph = graph_of(Transpose((0, 2, 1, 3)), f32(N, 6, 5, 20), chain=[Unfold(*WINDOWS[0])])
    result = run(compiled(graph, target))
    assert_equal(result)
    assert result.compiled.labels == ["unfold"]
