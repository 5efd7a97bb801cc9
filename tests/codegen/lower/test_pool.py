"""Pooling lowered: channels of every count, padding, overhanging windows."""

import numpy as np
import pytest

from alula.core.dtype import DType, from_bfloat16
from alula.core.errors import CodegenError
from alula.ir.types import TensorType
from alula.ops.pool import AvgPool2d, MaxPool2d
from alula.ops.shape import Transpose
from tests.codegen.harness import N, assert_close, assert_equal, assert_summed, bf16, f32, graph_of, joined, run

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


@pytest.mark.parametrize("dtype", [DType.U8, DType.BF16], ids=str)
def test_narrow_elements_are_compared_as_they_are(dtype, target, compiled):
    """Every count of channels, every window, overhanging ones too: the bits are the reference's."""
    graphs = [graph_of(MaxPool2d(*WINDOWS[1]), TensorType(dtype, (N, 5, 6, c))) for c in (*CHANNELS, 255, 256, 257)]
    windows = [(*window, ceil_mode) for window in WINDOWS for ceil_mode in (False, True)]
    graphs += [graph_of(MaxPool2d(*window), TensorType(dtype, (N, 5, 6, 19))) for window in windows]
    result = run(compiled(joined(*graphs), target))
    assert_equal(result)
    assert result.compiled.labels == ["max_pool2d"] * len(graphs)


def test_narrow_padding_never_wins(target, compiled):
    op, shape = MaxPool2d((3, 3), (2, 2), (1, 1, 1, 1)), (N, 4, 4, 33)
    program = compiled(joined(*(graph_of(op, TensorType(dtype, shape)) for dtype in (DType.U8, DType.BF16))), target)
    least, random = np.zeros((5, 4, 4, 33), np.uint8), np.random.default_rng(0)
    below = bf16(-1 - random.random((5, 4, 4, 33)))
    least[1], least[2, 0, 0], below[1] = 255, 128, bf16(np.full(33, -np.inf, np.float32))
    result = run(program, [least, below])
    assert_equal(result)
    bytes, numbers = result.outputs
    assert (bytes[0].max(), bytes[1].min(), bytes[2, 0, 0].min()) == (0, 255, 128)
    assert (from_bfloat16(numbers[0]) < 0).all()
    assert (from_bfloat16(numbers[1]) == -np.inf).all()


def test_nan_wins_in_bfloat16(target, compiled):
    x = np.zeros((5, 4, 4, 17), np.float32)
    x[1, 1, 1], x[2, 3, 0, 16] = np.nan, -np.nan
    op = MaxPool2d((3, 3), (1, 1), (1, 1, 1, 1))
    result = run(compiled(graph_of(op, TensorType(DType.BF16, (N, 4, 4, 17))), target), [bf16(x)])
    ours, exact = (np.isnan(from_bfloat16(y)) for y in (*result.outputs, *result.expected))
    assert np.array_equal(ours, exact)
    assert (ours[0].any(), ours[1, :3, :3].all(), ours[2, 2:, :2, 16].all()) == (False, True, True)


def test_views_of_narrow_pictures(target, compiled):
    op, dtypes = MaxPool2d((2, 2), (2, 2)), (DType.U8, DType.BF16)
    across = [graph_of(Transpose((0, 2, 1, 3)), TensorType(d, (N, 4, 6, 20)), chain=[op]) for d in dtypes]
    turned = [graph_of(Transpose((0, 2, 3, 1)), TensorType(d, (N, 20, 4, 6)), chain=[op]) for d in dtypes]
    result = run(compiled(joined(*across, *turned), target))
    assert_equal(result)
    assert sorted(result.compiled.labels) == ["copy"] * 2 + ["max_pool2d"] * 4


@pytest.mark.parametrize(
    ("op", "dtype", "text"),
    [
        (MaxPool2d((2, 2), (2, 2)), DType.I8, "max_pool2d test:1: expected f32 or bf16 or u8, got i8"),
        (AvgPool2d((2, 2), (2, 2)), DType.BF16, "avg_pool2d test:1: expected f32, got bf16"),
    ],
)
def test_other_element_types_are_refused(op, dtype, text, target, compiled):
    with pytest.raises(CodegenError) as caught:
        compiled(graph_of(op, TensorType(dtype, (N, 4, 4, 3))), target)
    assert str(caught.value) == text
