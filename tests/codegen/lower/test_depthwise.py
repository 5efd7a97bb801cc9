"""DepthwiseConv2d lowered: windows, tails of places, lines and channels, borders, bytes and bfloat16, epilogues."""

import numpy as np
import pytest

from alula.codegen.kernels.dot import DOT_F32, DOT_INT16
from alula.codegen.lower.depthwise import tile_of
from alula.codegen.packing import pack_weights
from alula.core.dtype import DType
from alula.core.target import AVX2, AVX512
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.elementwise import Add, Cast, Clip
from alula.ops.quantize import Quantize
from tests.codegen.harness import (
    N,
    assert_equal,
    assert_narrowed,
    assert_summed,
    f32,
    joined,
    random_array,
    random_bytes,
    run,
)

SAME = {"pad": (1, 1, 1, 1)}
WINDOWS = [  # kernel, attributes
    ((3, 3), SAME),
    ((3, 3), {"stride": (2, 2), "pad": (0, 0, 1, 1)}),
    ((3, 3), {"stride": (2, 2), **SAME}),
    ((5, 5), {"pad": (2, 2, 2, 2)}),
    ((7, 7), {"pad": (3, 3, 3, 3), "stride": (1, 2)}),
    ((1, 4), {"pad": (0, 3, 0, 0)}),
    ((3, 2), {"dilation": (3, 2), "pad": (6, 2, 3, 1)}),
    ((2, 3), {"dilation": (1, 5), "pad": (1, 9, 0, 10), "stride": (1, 3)}),
]


BYTES = [  # of one and of two lines at a time; kernels of few and of many registers, even ones, of words alone
    *WINDOWS,
    ((3, 3), SAME, 8, 15, 20),
    ((3, 3), {"stride": (2, 2), "pad": (0, 0, 1, 1)}, 8, 8, 20),
    ((2, 2), {"pad": (1, 0, 1, 1)}, 6, 9, 40),
    ((4, 3), {"pad": (2, 1, 1, 2)}, 7, 6, 70),
    ((1, 1), {}, 3, 4, 17),
    ((7, 7), {"pad": (3, 3, 3, 3)}, 7, 7, 20),
    ((5, 11), {"pad": (2, 5, 2, 5)}, 3, 12, 9),
]


def depthwise(kernel, attributes, h=9, w=7, c=20, f=lambda x: x, dtype=DType.F32):
    """One depthwise convolution, `f` applied to its weights; x is float32 that is narrowed first."""
    graph = Graph("depthwise", {"N": (1, 64)})
    x = graph.input("x", f32(N, h, w, c))
    x = graph.add(Cast(DType.BF16), x) if dtype is DType.BF16 else x
    taps, bias = (graph.constant(f(random_array(f32(*shape), 1, n))) for n, shape in enumerate([(*kernel, c), (c,)]))
    graph.output("y", graph.add(DepthwiseConv2d(**attributes), x, taps, bias))
    return graph


def checked(compiled, target, cases, terms=50, **options):
    def build(f):
        return joined(*(depthwise(*case, f=f, **options) for case in cases))

    result = run(compiled(build(lambda x: x), target))
    assert_summed(result, build, terms)
    assert [label for label in result.compiled.labels if label != "cast"] == ["depthwise_conv2d"] * len(cases)


def test_windows(target, compiled):
    checked(compiled, target, WINDOWS)


def test_places(target, compiled):
    """From a line in one tile to whole tiles between two that meet the borders."""
    cases = [(*window, 4, w, 3) for window in (WINDOWS[0], WINDOWS[2]) for w in (1, 2, 13, 14, 15, 28, 29, 57)]
    checked(compiled, target, cases)


def test_channels(target, compiled):
    checked(compiled, target, [((3, 3), SAME, 3, 5, c) for c in (1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33)])


def test_lines_of_one_and_of_several_chunks(target, compiled):
    checked(compiled, target, [((3, 3), SAME, h, 3, 5) for h in (1, 2, 16, 17, 40)])


def test_bfloat16(target, compiled):
    checked(compiled, target, WINDOWS, dtype=DType.BF16)


def of_bytes(kernel, attributes, h=9, w=7, c=20, zero=0, chain=(), words=None):
    """One of bytes and random words, through `chain`; packed."""
    graph = Graph("depthwise", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.U8, (N, h, w, c)))
    if words is None:
        words = np.random.default_rng(h).integers(-32767, 32768, (*kernel, c)).astype(np.int16)
    value = graph.add(DepthwiseConv2d(**attributes, zero=zero), x, graph.constant(words))
    for op in chain:
        value = graph.add(op, value)
    graph.output("y", value)
    return graph


def packed(target, *graphs):
    graph = joined(*graphs)
    pack_weights(graph, target)
    return graph


def inputs_for(graph):
    return [random_bytes(DType.U8, *value.type.at({"N": 5}), seed=n) for n, value in enumerate(graph.inputs)]


@pytest.mark.parametrize("zero", [0, 5, 255])
def test_bytes_are_exact_and_padded_with_zero(zero, every_target, compiled):
    graph = packed(every_target, *(of_bytes(*case, zero=zero) for case in BYTES))
    assert_equal(run(compiled(graph, every_target), inputs_for(graph)))


def test_places_of_bytes(target, compiled):
    cases = [
        of_bytes(kernel, attributes, h, w, 3, zero=7)
        for kernel, attributes in (WINDOWS[0], WINDOWS[2])
        for h, w in ((1, 1), (2, 2), (3, 9), (4, 10), (5, 11), (2, 21), (3, 57))
    ]
    graph = packed(target, *cases)
    assert_equal(run(compiled(graph, target), inputs_for(graph)))


def test_channels_of_bytes_in_several_chunks(target, compiled):
    cases = [of_bytes((3, 3), SAME, 5, 5, c, zero=9) for c in (1, 15, 16, 17, 63, 64, 65, 130, 257)]
    graph = packed(target, *cases)
    assert_equal(run(compiled(graph, target), inputs_for(graph)))


def test_the_largest_sums_fit(every_target, compiled):
    words = np.full((16, 16, 5), 32767, np.int16)
    words[..., 1] = -32768
    graph = packed(every_target, of_bytes((16, 16), {"pad": (3, 3, 3, 3)}, 14, 14, 5, zero=255, words=words))
    result = run(compiled(graph, every_target), [np.full((5, 14, 14, 5), 255, np.uint8)])
    assert_equal(result)
    assert result.outputs[0].max() == 255 * 32767 * 256


def test_bytes_through_an_epilogue(target, compiled):
    graph = packed(target, of_bytes(*WINDOWS[0], zero=3, chain=[Cast(DType.F32), Clip(-9e6, 9e6), Quantize(9e4, 100)]))
    result = run(compiled(graph, target), inputs_for(graph))
    assert_equal(result)
    assert result.compiled.labels == ["depthwise_conv2d+cast+clip+quantize"]


def test_epilogues(target, compiled):
    def one(chain, residual):
        graph = depthwise(*WINDOWS[0])
        ((name, value),) = graph.outputs
        graph.outputs = []
        if residual:
            value = graph.add(Add(), value, graph.input("r", value.type))
        for op in chain:
            value = graph.add(op, value)
        graph.output(name, value)
        return graph

    graphs = [one([Clip(0.0, 6.0), Quantize(0.03, 0)], False), one([Cast(DType.BF16)], True)]
    result = run(compiled(joined(*graphs), target))
    assert_narrowed(result)
    assert result.compiled.labels == ["depthwise_conv2d+clip+quantize", "depthwise_conv2d+add+cast"]


@pytest.mark.parametrize("taps", [1, 3, 5, 7, 11])
@pytest.mark.parametrize("target", [AVX2, AVX512], ids=lambda target: target.name)
def test_tiles_fit_the_registers(target, taps):
    for dot, stride in ((DOT_F32, 1), (DOT_INT16, 1), (DOT_INT16, 2)):
        for width in (1, 7, 14, 15, 28, 56, 112, 113):
            lines, places = tile_of(target, DepthwiseConv2d((stride, stride)), dot, (7, width), taps)
            assert 1 <= places <= width
            assert lines * (places + taps) + 2 <= target.vector_registers
            assert lines == 1 or (dot is DOT_INT16 and stride == 1)
    assert tile_of(AVX512, DepthwiseConv2d(), DOT_INT16, (56, 56), 3) == (2, 10)
