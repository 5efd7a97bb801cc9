"""DepthwiseConv2d lowered: windows, tails of places and of channels, borders, bytes and bfloat16, epilogues."""

import numpy as np
import pytest

from alula.codegen.lower.depthwise import places_a_tile
from alula.core.dtype import DType
from alula.core.target import AVX2, AVX512
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.elementwise import Add, Cast, Clip
from alula.ops.quantize import Quantize
from alula.ops.reference import run_reference
from tests.codegen.harness import HALF_ULP, N, assert_narrowed, assert_summed, f32, joined, random_array, run

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


def depthwise(kernel, attributes, h=9, w=7, c=20, f=lambda x: x, dtype=DType.F32, zero=0):
    """One depthwise convolution, `f` applied to its weights; x is float32 that is narrowed first."""
    graph = Graph("depthwise", {"N": (1, 64)})
    x = graph.input("x", TensorType(dtype if dtype is DType.U8 else DType.F32, (N, h, w, c)))
    x = graph.add(Cast(DType.BF16), x) if dtype is DType.BF16 else x
    taps, bias = (graph.constant(f(random_array(f32(*shape), 1, n))) for n, shape in enumerate([(*kernel, c), (c,)]))
    graph.output("y", graph.add(DepthwiseConv2d(**attributes, zero=zero), x, taps, bias))
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


@pytest.mark.parametrize("zero", [0, 5, 255])
def test_bytes_are_padded_with_zero(zero, target, compiled):
    graph = joined(*(depthwise(*case, dtype=DType.U8, zero=zero) for case in WINDOWS))
    result = run(compiled(graph, target))
    sizes = joined(*(depthwise(*case, f=np.abs) for case in WINDOWS))
    largest = run_reference(sizes, [np.abs(x.astype(np.float32) - zero) for x in result.inputs])
    for ours, expected, size in zip(result.outputs, result.expected, largest, strict=True):
        assert (np.abs(ours - expected) <= 54 * HALF_ULP * size).all()


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
    for width in (1, 7, 14, 15, 28, 56, 112, 113):
        places = places_a_tile(target, width, taps)
        assert 1 <= places <= width
        assert places + taps + 2 <= target.vector_registers
