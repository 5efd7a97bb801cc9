"""Unfold and Fold lowered: windows with padding, stride and dilation, channels of every count."""

import numpy as np
import pytest

from alula.core.dtype import DType
from alula.ir.types import TensorType
from alula.ops.shape import Transpose
from alula.ops.unfold import Fold, Unfold
from alula.ops.windows import window_counts
from tests.codegen.harness import N, assert_equal, assert_summed, f32, graph_of, joined, run

WINDOWS = [
    ((3, 3), (2, 2), (1, 1, 1, 1), (1, 1)),
    ((2, 3), (1, 2), (0, 1, 1, 0), (2, 1)),
    ((3, 1), (1, 3), (3, 0, 2, 0), (2, 1)),
    ((1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
]
CHANNELS = [0, 1, 7, 8, 16, 17, 128, 130]


@pytest.mark.parametrize("dtype", [DType.F32, DType.U8, DType.I64], ids=str)
def test_unfold_moves_every_bit(dtype, target, compiled):
    graphs = [graph_of(Unfold(*window), TensorType(dtype, (N, 5, 6, 17))) for window in WINDOWS]
    result = run(compiled(joined(*graphs), target))
    assert_equal(result)
    assert result.compiled.labels == ["unfold"] * len(WINDOWS)


def test_unfold_of_any_count_of_channels(target, compiled):
    graphs = [graph_of(Unfold(*WINDOWS[0]), f32(N, 5, 6, channels)) for channels in CHANNELS]
    assert_equal(run(compiled(joined(*graphs), target)))


def test_unfold_of_padding_alone(target, compiled):
    assert_equal(run(compiled(graph_of(Unfold((2, 2), (1, 1), (1, 1, 1, 1)), f32(N, 0, 3, 4)), target)))


def folded(window, channels):
    """Fold to 5x6."""
    kernel, stride, pad, dilation = window
    counts = window_counts(5, 6, kernel, stride, pad, dilation)
    return graph_of(Fold((5, 6), *window), f32(N, *counts, kernel[0] * kernel[1], channels))


def test_fold_sums_the_windows(target, compiled):
    def build(f):
        return joined(*(folded(window, channels) for window in WINDOWS for channels in (17, 130)))

    result = run(compiled(build(np.abs), target))
    assert_summed(result, build, terms=9)
    assert result.compiled.labels == ["fold"] * 8


def test_fold_of_any_count_of_channels(target, compiled):
    def build(f):
        return joined(*(folded(WINDOWS[0], channels) for channels in CHANNELS))

    assert_summed(run(compiled(build(np.abs), target)), build, terms=9)


def test_views(target, compiled):
    graph = graph_of(Transpose((0, 2, 1, 3)), f32(N, 6, 5, 20), chain=[Unfold(*WINDOWS[0])])
    result = run(compiled(graph, target))
    assert_equal(result)
    assert result.compiled.labels == ["unfold"]
