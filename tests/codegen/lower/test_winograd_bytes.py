"""Winograd's algorithm for bytes: exactly the convolution's sums, and where it is chosen."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alula.codegen.packing import pack_weights
from alula.codegen.program import compile_graph
from alula.core.dtype import DType
from alula.core.target import AMX, AVX2, AVX512, AVX512_VNNI
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Cast, Relu
from alula.ops.quantize import Quantize
from tests.codegen.conftest import running
from tests.codegen.harness import Compiled, N, assert_narrowed, joined, run, same_bits
from tests.codegen.lower.convolutions import shapes

BYTES = running(AVX2, AVX512, AVX512_VNNI)  # what differs in products of bytes and of words of 16 bits
RANDOM = np.random.default_rng(0)
SHAPES = [  # h, w, channels, features, pad: tiles that end with the picture and beyond it, tails, several parts
    (20, 20, 64, 64, (1, 1, 1, 1)),
    (24, 27, 32, 200, (1, 1, 1, 1)),
    (25, 24, 48, 72, (0, 2, 2, 0)),
    (18, 18, 144, 70, (0, 0, 0, 0)),
    (16, 16, 336, 40, (2, 0, 1, 2)),
    (60, 31, 64, 33, (1, 1, 1, 1)),
]


def weights(o, c):
    """Of every level from -128 to 127."""
    return RANDOM.integers(-128, 128, (o, 3, 3, c)).astype(np.int8)


def conv(target, h, w, c, o, pad=(1, 1, 1, 1), weight=None, chain=(), **attributes):
    """One packed convolution of bytes, and what follows it."""
    graph = Graph("conv", {"N": (1, 64)})
    weight = weights(o, c // attributes.get("groups", 1)) if weight is None else weight
    value = graph.input("x", TensorType(DType.U8, (N, h, w, c)))
    for op in (Conv2d(pad=pad, **attributes), *chain):
        operands = [graph.constant(weight)] if isinstance(op, Conv2d) else []
        value = graph.add(op, value, *operands)
    graph.output("y", value)
    pack_weights(graph, target)
    return graph


def levels(c):
    return tuple(RANDOM.integers(0, 256, c).tolist())


def assert_exact(result, labels):
    same_bits(result.outputs, result.expected)
    assert result.compiled.labels == labels


@pytest.mark.parametrize("target", BYTES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_sums_are_those_of_the_convolution(shape, target, compiled):
    assert_exact(run(compiled(conv(target, *shape), target)), ["winograd"])


@pytest.mark.parametrize("target", BYTES)
def test_the_border_has_levels_of_its_own(target, compiled):
    graph = joined(*(conv(target, *shape, border=levels(shape[2])) for shape in SHAPES[:3]))
    assert_exact(run(compiled(graph, target)), ["winograd"] * 3)


@pytest.mark.parametrize("target", BYTES)
def test_groups_have_their_own_channels(target, compiled):
    shapes = [(24, 24, 96, 99, 3), (20, 20, 96, 128, 2)]
    graph = joined(*(conv(target, *shape, groups=groups, border=levels(96)) for *shape, groups in shapes))
    assert_exact(run(compiled(graph, target)), ["winograd"] * 2)


@pytest.mark.parametrize("target", BYTES)
def test_results_go_through_the_epilogue(target, compiled):
    chains = [(Cast(DType.F32), Relu(), Cast(DType.BF16)), (Cast(DType.F32), Quantize(500.0, 100))]
    result = run(compiled(joined(*(conv(target, 20, 20, 64, 70, chain=chain) for chain in chains)), target))
    assert_narrowed(result)
    assert result.compiled.labels == ["winograd+cast+relu+cast", "winograd+cast+quantize"]


@pytest.mark.parametrize("target", BYTES)
def test_every_thread_finds_work(target, compiled):
    """Sixteen tiles and five panels or more for up to seven threads: the same bits."""
    assert_exact(run(compiled(conv(target, 16, 16, 160, 140), target, threads=7)), ["winograd"])


def heavy(c, o, most):
    """Weights whose last feature has positive ones that are `most` in all, and negative ones that are one more."""
    flat = np.zeros((o, 9 * c), np.int8)
    for start, total, sign in ((0, most, 1), (9 * c // 2, most + 1, -1)):
        flat[-1, start : start + total // 127] = 127 * sign
        flat[-1, start + total // 127] = total % 127 * sign
    return flat.reshape(o, 3, 3, c)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("target", BYTES)
def test_sums_may_have_26_bits(target, sign, compiled):
    """Those of more stay direct.  One place has the largest sum that there can be, another the least."""
    c, o, most = 256, 48, (2**25 - 1) // 255
    for total, labels in ((most - 1, ["winograd"]), (most, ["pad", "conv2d"])):
        weight = heavy(c, o, total) * np.int8(sign)
        x = RANDOM.integers(0, 256, (3, 20, 20, c)).astype(np.uint8)
        x[1, 5:8, 6:9], x[1, 12:15, 11:14] = (np.where(side * weight[-1] > 0, 255, 0) for side in (1, -1))
        result = run(compiled(conv(target, 20, 20, c, o, weight=weight), target), [x], batch=3)
        assert_exact(result, labels)
        ends = sorted((255 * sign * total, -255 * sign * (total + 1)))
        assert [result.outputs[0].min(), result.outputs[0].max()] == ends


DIRECT = {
    "small picture": {"h": 10, "w": 10},
    "few channels and features": {"c": 16, "o": 32},
    "few channels a group": {"groups": 8},
    "stride": {"stride": (1, 2)},
    "dilation": {"dilation": (2, 1)},
    "channels that are no whole vectors": {"c": 72},
}


@pytest.mark.parametrize("target", running(AVX512_VNNI))
@pytest.mark.parametrize("change", DIRECT.values(), ids=DIRECT)
def test_others_stay_direct(change, target, compiled):
    assert compiled(conv(target, **{"h": 20, "w": 20, "c": 64, "o": 64} | change), target).labels == ["pad", "conv2d"]


def test_matrix_registers_are_faster():
    (step,) = (step for step in compile_graph(conv(AMX, 20, 20, 64, 64), AMX).steps if step.label != "pad")
    assert step.label == "conv2d"


@pytest.mark.parametrize(("target", "cost"), [(AVX512, 1), (AVX512_VNNI, 2)], ids=["avx512", "avx512-vnni"])
def test_work_is_the_models_in_bytes_and_what_is_saved_is_said(target, cost):
    """Where bytes have an instruction of their own, a product of words takes as long as two of bytes."""
    (step,) = compile_graph(conv(target, 18, 20, 64, 64), target).steps
    assert (step.label, step.arithmetic, step.macs) == ("winograd", "int8", 18 * 20 * 64 * 9 * 64)
    assert step.macs - step.saved == cost * 5 * 5 * 36 * 64 * 64  # tiles, points


@pytest.mark.fuzz
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(shape=shapes(10, 50, 20), threads=st.integers(1, 7), bordered=st.booleans())
@pytest.mark.parametrize("target", BYTES)
def test_any_shape(shape, threads, bordered, target):
    *sizes, groups = shape
    border = levels(sizes[2]) if bordered else ()
    program = Compiled(conv(target, *sizes, groups=groups, border=border), target, threads)
    try:
        if "winograd" in program.labels:
            result = run(program, batch=3)
            same_bits(result.outputs, result.expected)
    finally:
        program.close()
