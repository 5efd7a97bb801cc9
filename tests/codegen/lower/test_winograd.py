"""Winograd's algorithm: the same sums as the convolution's at every border, tail and part, and where it is chosen."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alula.codegen.packing import pack_weights
from alula.core.dtype import DType
from alula.core.target import AVX2, AVX512
from alula.ir.graph import Graph
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Add, Cast, Relu
from alula.ops.quantize import Quantize
from alula.ops.shape import Concat
from tests.codegen.conftest import running
from tests.codegen.harness import Compiled, N, assert_narrowed, bf16, f32, joined, random_array, run, same_bits
from tests.codegen.lower.convolutions import shapes

SHAPES = [  # h, w, channels, features, pad: tiles that end with the picture and beyond it, tails, several parts
    (10, 10, 16, 32, (0, 0, 0, 0)),
    (9, 12, 32, 33, (1, 1, 1, 1)),
    (7, 7, 48, 40, (1, 1, 1, 1)),
    (14, 15, 64, 7, (2, 0, 1, 2)),
    (13, 21, 16, 150, (0, 2, 2, 0)),
    (12, 12, 96, 40, (1, 1, 1, 1)),
    (12, 12, 208, 24, (1, 1, 1, 1)),
    (30, 31, 16, 8, (1, 1, 1, 1)),
]
ROUNDING = 2e-6  # of the sums' spread, the root of the mean square: 1.4e-6 at 256 channels
WORST = 10  # times that


def conv(target, h, w, c, o, pad=(1, 1, 1, 1), kernel=(3, 3), stored=np.float32, chain=(), **attributes):
    """One packed convolution with a bias, its weights stored as asked, and what follows it."""
    graph = Graph("conv", {"N": (1, 64)})
    weight, bias = random_array(f32(o, *kernel, c // attributes.get("groups", 1)), 1, c), random_array(f32(o), 1, o)
    x = graph.input("x", f32(N, h, w, c))
    value = graph.add(Conv2d(pad=pad, **attributes), x, graph.constant(weight.astype(stored)), graph.constant(bias))
    for op in chain:
        value = graph.add(op, value)
    graph.output("y", value)
    pack_weights(graph, target)
    return graph


def wide_conv(target, h, w, c, o, pad):
    """A packed convolution of bfloat16."""
    graph = Graph("wide", {"N": (1, 64)})
    weight = bf16(random_array(f32(o, 3, 3, c), 1, 1))
    x = graph.add(Cast(DType.BF16), graph.input("x", f32(N, h, w, c)))
    graph.output("y", graph.add(Conv2d(pad=pad, wide=True), x, graph.constant(weight)))
    pack_weights(graph, target)
    return graph


def assert_rounded(result):
    for ours, exact in zip(result.outputs, result.expected, strict=True):
        error, spread = ours.astype(np.float64) - exact, exact.std()
        assert np.sqrt((error**2).mean()) <= ROUNDING * spread
        assert np.abs(error).max() <= WORST * ROUNDING * spread


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_are_those_of_the_convolution(shape, target, compiled):
    result = run(compiled(conv(target, *shape), target))
    assert_rounded(result)
    assert result.compiled.labels == ["winograd"]


def test_groups_have_their_own_channels(target, compiled):
    shapes = [(9, 9, 48, 99, 3), (8, 10, 32, 128, 2)]
    graph = joined(*(conv(target, h, w, c, o, groups=groups) for h, w, c, o, groups in shapes))
    result = run(compiled(graph, target))
    assert_rounded(result)
    assert result.compiled.labels == ["winograd"] * 2


def test_stored_float16_is_widened(target, compiled):
    graph = joined(*(conv(target, *shape, stored=np.float16) for shape in SHAPES[1:4]))
    result = run(compiled(graph, target))
    assert_rounded(result)
    assert result.compiled.labels == ["winograd"] * 3


def test_bfloat16_is_widened_but_for_matrix_registers(every_target, compiled):
    graph = joined(*(wide_conv(every_target, *shape) for shape in SHAPES[1:6]))
    result = run(compiled(graph, every_target))
    labels = [label for label in result.compiled.labels if label not in ("cast", "pad", "copy")]
    if every_target.matrix:
        assert labels == ["conv2d"] * 5
    else:
        assert_rounded(result)
        assert labels == ["winograd"] * 5


def test_epilogue_runs_on_the_places(target, compiled):
    graph = Graph("epilogue", {"N": (1, 64)})
    x, residual = graph.input("x", f32(N, 9, 10, 32)), graph.input("r", f32(N, 9, 10, 37))
    value = graph.add(Conv2d(pad=(1, 1, 1, 1)), x, graph.constant(random_array(f32(37, 3, 3, 32), 1)))
    graph.output("y", graph.add(Relu(), graph.add(Add(), value, residual)))
    pack_weights(graph, target)
    result = run(compiled(graph, target))
    assert_rounded(result)
    assert result.compiled.labels == ["winograd+add+relu"]


def test_results_are_narrowed(every_target, compiled):
    chains = [(Relu(), Cast(DType.BF16)), (Quantize(0.5, 100),)]
    result = run(compiled(joined(*(conv(every_target, 9, 9, 16, 33, chain=chain) for chain in chains)), every_target))
    assert_narrowed(result)
    assert result.compiled.labels == ["winograd+relu+cast", "winograd+quantize"]


def test_places_lie_where_a_concatenation_wants_them(target, compiled):
    graph = Graph("concat", {"N": (1, 64)})
    x = graph.input("x", f32(N, 12, 15, 32))
    parts = [
        graph.add(Conv2d(pad=(1, 1, 1, 1)), x, graph.constant(random_array(f32(o, 3, 3, 32), 1, o))) for o in (24, 33)
    ]
    graph.output("y", graph.add(Relu(), graph.add(Concat(3), *parts)))
    pack_weights(graph, target)
    result = run(compiled(graph, target))
    assert_rounded(result)
    assert result.compiled.labels == ["winograd", "winograd", "relu"]


def test_every_thread_finds_work(target, compiled):
    """Four tiles and five panels for up to seven threads: the same bits."""
    result = run(compiled(conv(target, 7, 8, 32, 140), target, threads=7))
    assert_rounded(result)


@pytest.mark.parametrize(("first", "second"), [(AVX2, AVX512)])
@pytest.mark.parametrize("runs", running(AVX512))
def test_same_bits_on_every_target(first, second, runs, compiled):
    x = random_array(f32(N, 13, 14, 80), 3)
    ours, others = (compiled(conv(target, 13, 14, 80, 40), target)(x) for target in (first, second))
    same_bits(ours, others)


DIRECT = {
    "small picture": {"h": 6, "w": 6, "o": 64},
    "small picture for few features": {"h": 7, "w": 7},
    "few channels": {"c": 8},
    "stride": {"stride": (1, 2)},
    "dilation": {"dilation": (2, 1)},
    "few channels a group": {"groups": 4},
    "kernel": {"kernel": (3, 2)},
}


@pytest.mark.parametrize("change", DIRECT.values(), ids=DIRECT)
def test_others_stay_direct(change, target, compiled):
    labels = compiled(conv(target, **{"h": 16, "w": 16, "c": 32, "o": 16} | change), target).labels
    assert [label for label in labels if label != "pad"] == ["conv2d"]


def test_work_is_the_models_and_what_is_saved_is_said(target, compiled):
    (step,) = compiled(conv(target, 12, 10, 16, 24), target).program.steps
    assert step.macs == 12 * 10 * 24 * 9 * 16
    assert step.macs - step.saved == 3 * 3 * 36 * 24 * 16  # tiles, points


@pytest.mark.fuzz
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=shapes(6, 40, 12), threads=st.integers(1, 7), stored=st.sampled_from([np.float32, np.float16]))
def test_any_shape(shape, threads, stored, target):
    *sizes, groups = shape
    program = Compiled(conv(target, *sizes, groups=groups, stored=stored), target, threads)
    try:
        if "winograd" in program.labels:
            assert_rounded(run(program, batch=3))
    finally:
        program.close()
