"""Conv2d lowered: windows, groups, tails of pixels and of channels, input in bytes, epilogues."""

import numpy as np
import pytest

from alula.codegen.packing import pack_weights
from alula.core.dtype import DType
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Add, Relu
from tests.codegen.harness import N, assert_close, assert_summed, f32, joined, random_array, run

WINDOWS = [
    {"kernel": (3, 3), "pad": (1, 1, 1, 1)},
    {"kernel": (3, 3), "stride": (2, 2), "pad": (0, 1, 1, 0)},
    {"kernel": (2, 3), "stride": (1, 2), "pad": (1, 0, 0, 2), "dilation": (1, 2)},
    {"kernel": (2, 2), "dilation": (2, 1), "groups": 2},
    {"kernel": (3, 3), "pad": (1, 1, 1, 1), "groups": 4},
    {"kernel": (1, 1), "stride": (2, 2)},
]


def conv(target, window, h=7, w=9, c=4, o=8, f=lambda x: x, dtype=DType.F32, **attributes):
    """One packed convolution, `f` applied to its weights."""
    window = dict(window)
    kernel, groups = window.pop("kernel"), window.get("groups", 1)
    graph = Graph("conv", {"N": (1, 64)})
    weight, bias = (f(random_array(f32(*s), 1, n)) for n, s in enumerate(((o, *kernel, c // groups), (o,))))
    x = graph.input("x", TensorType(dtype, (N, h, w, c)))
    graph.output("y", graph.add(Conv2d(**window, **attributes), x, graph.constant(weight), graph.constant(bias)))
    pack_weights(graph, target)
    return graph


def checked(compiled, target, cases, **options):
    def build(f):
        return joined(*(conv(target, f=f, **case, **options) for case in cases))

    result = run(compiled(build(lambda x: x), target))
    assert_summed(result, build, terms=9 * 40 + 1)
    return [label for label in result.compiled.labels if label != "pad"]


def test_windows(target, compiled):
    labels = checked(compiled, target, [{"window": window} for window in WINDOWS])
    assert labels == ["conv2d"] * len(WINDOWS)


def test_tails_of_pixels(target, compiled):
    checked(compiled, target, [{"window": WINDOWS[0], "w": w, "h": 3} for w in (1, 5, 6, 7, 13, 14, 15, 29)])


def test_tails_of_features(target, compiled):
    checked(compiled, target, [{"window": WINDOWS[0], "o": o} for o in (1, 7, 8, 9, 15, 16, 17, 31, 32, 33)])


def test_channel_counts(target, compiled):
    checked(compiled, target, [{"window": WINDOWS[1], "c": c} for c in (1, 3, 16, 17, 40)])


def test_depthwise(target, compiled):
    checked(compiled, target, [{"window": WINDOWS[0] | {"groups": c}, "c": c, "o": c * k} for c, k in ((6, 1), (5, 2))])


@pytest.mark.parametrize("dtype", [DType.U8, DType.F32], ids=str)
def test_normalisation_stays_within_the_border(dtype, target, compiled):
    scale, shift = (0.01, 0.02, 0.005), (-1.0, 0.5, -2.0)

    def build(f):
        numbers = {"scale": scale, "shift": tuple(f(np.array(shift)).tolist())}
        return joined(*(conv(target, window, c=3, f=f, dtype=dtype, **numbers) for window in WINDOWS[:3]))

    assert_summed(run(compiled(build(lambda x: x), target)), build, terms=30)


def test_epilogue_runs_on_the_tile(target, compiled):
    graph = Graph("epilogue", {"N": (1, 64)})
    x, residual = graph.input("x", f32(N, 5, 6, 4)), graph.input("r", f32(N, 5, 6, 37))
    value = graph.add(Conv2d(pad=(1, 1, 1, 1)), x, graph.constant(random_array(f32(37, 3, 3, 4), 1)))
    graph.output("y", graph.add(Relu(), graph.add(Add(), value, residual)))
    pack_weights(graph, target)
    result = run(compiled(graph, target))
    assert_close(result, ulps=60, floor=4.0)
    assert result.compiled.labels == ["pad", "conv2d+add+relu"]
