"""Pooling lowered: channels of every count, padding, overhanging windows."""

import numpy as np

from alula.ops.pool import AvgPool2d, MaxPool2d
from alula.ops.shape import Transpose
from tests.codegen.harness import N, assert_close, assert_equal, assert_summed, f32, graph_of, joined, run

WINDOWS = [
    ((2, 2), (2, 2), (0, 0, 0, 0)),
    ((3, 3), (2, 2), (1, 1, 1, 1)),
    ((3, 2), (1, 3), (2, 0, 1, 1)),
    ((5, 6), (1, 1), (0, 0, 0, 0)),
]


CHANNELS = (1, 7, 8, 9, 16, 17, 64, 65, 128, 130)


def test_every_count_of_channels(target, compiled):
    def build(op):
        return joined(*(graph_of(op, f32(N, 5, 6, channels)) for channels in CHANNELS))

    greatest = run(compiled(build(MaxPool2d(*WINDOWS[1])), target))
    assert_equal(greatest)
    assert greatest.compiled.labels == ["max_pool2d"] * len(CHANNELS)
    mean = run(compiled(build(AvgPool2d(*WINDOWS[1])), target))
    assert_summed(mean, lambda f: build(AvgPool2d(*WINDOWS[1])), terms=9)
    assert mean.compiled.labels == ["avg_pool2d"] * len(CHANNELS)


def test_windows(target, compiled):
    whole = [(*window, ceil_mode) for window in WINDOWS for ceil_mode in (False, True)]
    assert_equal(run(compiled(joined(*(graph_of(MaxPool2d(*w), f32(N, 5, 6, 19)) for w in whole)), target)))

    def build(f):
        ops = [AvgPool2d(*window, include) for window in whole for include in (True, False)]
        return joined(*(graph_of(op, f32(N, 5, 6, 19)) for op in ops))

    assert_summed(run(compiled(build(np.abs), target)), build, terms=30)


def test_views_of_pictures(target, compiled):
    op = AvgPool2d((2, 2), (2, 2))
    moved = run(compiled(graph_of(Transpose((0, 2, 1, 3)), f32(N, 4, 6, 20), chain=[op]), target))
    assert_close(moved, ulps=4, floor=1.0)
    assert moved.compiled.labels == ["avg_pool2d"]
    turned = run(compiled(graph_of(Transpose((0, 2, 3, 1)), f32(N, 20, 4, 6), chain=[op]), target))
    assert_close(turned, ulps=4, floor=1.0)
    assert turned.compiled.labels == ["transpose", "avg_pool2d"]


def test_nan_wins(target, compiled):
    x = np.zeros((5, 4, 4, 17), np.float32)
    x[1, 1, 1], x[2, 3, 0, 16], x[3] = np.nan, np.nan, -np.inf
    assert_close(
        run(compiled(graph_of(MaxPool2d((3, 3), (1, 1), (1, 1, 1, 1)), f32(N, 4, 4, 17)), target), [x]), ulps=0
    )


def test_no_pictures_and_no_channels(target, compiled):
    for op in (MaxPool2d((2, 2), (2, 2), (1, 1, 1, 1)), AvgPool2d((2, 2), (2, 2), (1, 1, 1, 1))):
        assert_close(run(compiled(graph_of(op, f32(N, 0, 3, 4)), target)), ulps=0)
        assert_equal(run(compiled(graph_of(op, f32(N, 4, 3, 0)), target)))
