"""Conv2d lowered: windows, groups, tails of pixels and of channels, input in bytes, epilogues."""

from dataclasses import replace

import numpy as np
import pytest

from alula.codegen.lower import conv as lower
from alula.codegen.packing import pack_weights
from alula.codegen.program import compile_graph, lower_for
from alula.core.dtype import DType
from alula.core.errors import CodegenError
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Add, Cast, Mul, Relu
from alula.ops.quantize import Quantize
from alula.ops.reference import run_reference
from tests.codegen.harness import (
    HALF_ULP,
    N,
    assert_close,
    assert_equal,
    assert_narrowed,
    assert_summed,
    bf16,
    f32,
    joined,
    random_array,
    random_bytes,
    run,
    same_bits,
)

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


NARROW = [  # h and w, channels, features, kernel, attributes
    (5, 1, 8, 3, {"pad": (1, 1, 1, 1)}),
    (6, 3, 17, 3, {"pad": (1, 1, 1, 1), "stride": (2, 2)}),
    (5, 7, 1, 2, {"pad": (0, 1, 1, 0), "stride": (2, 1)}),
    (7, 4, 15, 3, {"pad": (1, 0, 0, 1)}),
    (9, 12, 33, 3, {"pad": (1, 1, 1, 1), "stride": (2, 2)}),
    (6, 64, 40, 3, {"pad": (1, 1, 1, 1)}),
    (16, 64, 32, 4, {"stride": (4, 4)}),
    (17, 64, 16, 1, {}),
    (33, 64, 7, 1, {"stride": (1, 2)}),
    (7, 24, 6, 3, {"pad": (1, 1, 1, 1), "groups": 2}),
    (6, 128, 10, 2, {"groups": 2}),
    (7, 8, 9, 2, {"dilation": (2, 2), "pad": (1, 1, 1, 1)}),
]


def byte_conv(target, size, c, o, kernel, attributes, border=True):
    """A packed convolution of bytes, padded with a level for each channel."""
    graph = Graph("bytes", {"N": (1, 64)})
    padded = any(attributes.get("pad", ()))
    op = Conv2d(**attributes, border=tuple((7 + 50 * n) % 256 for n in range(c)) if border and padded else ())
    weight = random_bytes(DType.I8, o, kernel, kernel, c // op.groups, seed=c)
    x = graph.input("x", TensorType(DType.U8, (N, size, size, c)))
    graph.output("y", graph.add(op, x, graph.constant(weight)))
    pack_weights(graph, target)
    return graph


def wide_conv(target, size, c, o, kernel, attributes, f=lambda x: x, scaled=None, chain=()):
    """A packed convolution of bfloat16; of pixels in type `scaled` where it is given, which it rounds itself."""
    graph = Graph("wide", {"N": (1, 64)})
    op = Conv2d(**attributes, wide=True)
    weight = bf16(f(random_array(f32(o, kernel, kernel, c // op.groups), 1, 1)))
    x = graph.input("x", TensorType(scaled or DType.F32, (N, size, size, c)))
    if scaled:
        op = replace(op, scale=(0.017, 0.01, 0.03)[:c], shift=tuple(f(np.array([-1.3, 0.5, -2.0]))[:c].tolist()))
    else:
        x = graph.add(Cast(DType.BF16), x)
    value = graph.add(op, x, graph.constant(weight), graph.constant(f(random_array(f32(o), 1, 2))))
    for following in chain:
        value = graph.add(following, value)
    graph.output("y", value)
    pack_weights(graph, target)
    return graph


def test_bytes_are_exact_and_padded_with_the_border(every_target, compiled):
    graphs = [byte_conv(every_target, *case) for case in NARROW] + [byte_conv(every_target, *NARROW[1], border=False)]
    program = compiled(joined(*graphs), every_target)
    inputs = [random_bytes(DType.U8, *v.type.at({"N": 5}), seed=n) for n, v in enumerate(program.graph.inputs)]
    assert_equal(run(program, inputs))
    assert [label for label in program.labels if label not in ("pad", "copy")] == ["conv2d"] * len(graphs)
    assert {step.arithmetic for step in program.program.steps if step.macs} == {"int8"}


def test_bfloat16_is_summed_in_float32(every_target, compiled):
    def build(f):
        return joined(*(wide_conv(every_target, *case, f) for case in NARROW))

    result = run(compiled(build(lambda x: x), every_target))
    assert_summed(result, build, terms=16 * 64 + 1)
    labels = [label for label in result.compiled.labels if label not in ("cast", "pad", "copy")]
    assert labels == ["conv2d"] * len(NARROW)


@pytest.mark.parametrize("dtype", [DType.U8, DType.F32], ids=str)
def test_pixels_are_scaled_then_rounded_to_bfloat16(dtype, every_target, compiled):
    """Few are rounded the other way: the kernel scales with one rounding, the reference in float64."""
    pixels = [(20, 3, 10, 7, {"pad": (3, 3, 3, 3), "stride": (2, 2)}), (6, 1, 8, 3, {"pad": (1, 1, 1, 1)})]

    def build(f):
        return joined(*(wide_conv(every_target, *case, f, dtype) for case in pixels))

    result = run(compiled(build(lambda x: x), every_target))
    sizes = run_reference(build(np.abs), [np.abs(array) for array in result.inputs])
    for ours, exact, size in zip(result.outputs, result.expected, sizes, strict=True):
        off = np.abs(ours.astype(np.float64) - exact) / size
        assert off.max() <= 2.0**-9
        assert (off > 200 * HALF_ULP).mean() < 0.02
    assert result.compiled.labels == ["pad", "conv2d"] * 2


def test_epilogues_of_narrow_products(every_target, compiled):
    size, c, o, kernel, attributes = NARROW[4]
    graphs = [
        wide_conv(every_target, size, c, o, kernel, attributes, chain=[Relu(), Cast(DType.BF16)]),
        wide_conv(every_target, size, c, o, kernel, attributes, chain=[Quantize(0.5, 100)]),
    ]
    graph = Graph("bytes", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.F32, (N, size, size, c)))
    weight = graph.constant(random_bytes(DType.I8, o, kernel, kernel, c))
    total = graph.add(Conv2d(**attributes, border=(9,) * c), graph.add(Quantize(0.02, 9), x), weight)
    scale = graph.constant(np.linspace(0.001, 0.002, o, dtype=np.float32))
    value = graph.add(Relu(), graph.add(Mul(), graph.add(Cast(DType.F32), total), scale))
    graph.output("y", graph.add(Cast(DType.BF16), value))
    pack_weights(graph, every_target)
    result = run(compiled(joined(*graphs, graph), every_target))
    assert_narrowed(result)
    labels = [label for label in result.compiled.labels if label.startswith("conv2d")]
    assert labels == ["conv2d+relu+cast", "conv2d+quantize", "conv2d+cast+mul+relu+cast"]


def test_channels_that_are_no_whole_words_are_refused(every_target):
    for c, groups in ((9, 1), (18, 1), (6, 2)):
        graph = byte_conv(every_target, 5, c, 4, 3, {"groups": groups, "pad": (1, 1, 1, 1)})
        wanted = rf"conv2d.*: expected a multiple of 4 channels a group for int8, got {c}"
        with pytest.raises(CodegenError, match=wanted):
            compile_graph(graph, every_target)


def test_epilogue_runs_on_the_tile(target, compiled):
    graph = Graph("epilogue", {"N": (1, 64)})
    x, residual = graph.input("x", f32(N, 5, 6, 4)), graph.input("r", f32(N, 5, 6, 37))
    value = graph.add(Conv2d(pad=(1, 1, 1, 1)), x, graph.constant(random_array(f32(37, 3, 3, 4), 1)))
    graph.output("y", graph.add(Relu(), graph.add(Add(), value, residual)))
    pack_weights(graph, target)
    result = run(compiled(graph, target))
    assert_close(result, ulps=60, floor=4.0)
    assert result.compiled.labels == ["pad", "conv2d+add+relu"]


WIDTHS = range(3, 21)  # of the output: from several lines a tile to one line and a bit
ROWS = [32, 3, 1]  # chunks of an image, at least: of one tile, of some and of all lines


def sized(width, stride):
    """The size of a picture that a padded 3 x 3 window makes so wide."""
    return (width - 1) * stride + 1


def windows(graph, target):
    """How each convolution of a graph is cut into tiles."""
    state = lower_for(graph, target)
    return [key[1][0] for key in state.kernels if key[0] == "conv2d"]


def lines_graph(target, dtype, stride, f=lambda x: x):
    """A convolution for each width, whose heights leave lines over; whole words of tile registers where there are."""
    attributes = {"pad": (1, 1, 1, 1), "stride": (stride, stride)}
    if dtype is DType.F32:
        cases = [{"window": {"kernel": (3, 3), **attributes}, "h": 7 * stride, "w": sized(w, stride)} for w in WIDTHS]
        return joined(*(conv(target, c=3, f=f, **case) for case in cases))
    c = 64 if target.matrix else 4
    sizes = [(sized(width, stride), c, 8, 3, attributes) for width in WIDTHS]
    if dtype is DType.U8:
        return joined(*(byte_conv(target, *size) for size in sizes))
    return joined(*(wide_conv(target, *size, f) for size in sizes))


def checked_lines(target, compiled, dtype, stride):
    program = compiled(lines_graph(target, dtype, stride), target)
    inputs = [
        random_bytes(DType.U8, *v.type.at({"N": 5}), seed=n) if dtype is DType.U8 else random_array(v.type, 5, n)
        for n, v in enumerate(program.graph.inputs)
    ]
    result = run(program, inputs)
    if dtype is DType.U8:
        assert_equal(result)
    else:
        assert_summed(result, lambda f: lines_graph(target, dtype, stride, f), terms=9 * 64 + 1)
    labels = [label for label in program.labels if label not in ("pad", "copy", "cast")]
    assert labels == ["conv2d"] * len(WIDTHS)


@pytest.mark.parametrize("chunks", ROWS)
@pytest.mark.parametrize("stride", [1, 2])
def test_tiles_over_whole_lines(stride, chunks, target, compiled, monkeypatch):
    monkeypatch.setattr(lower, "LEAST_CHUNKS", chunks)
    checked_lines(target, compiled, DType.F32, stride)


@pytest.mark.parametrize("dtype", [DType.U8, DType.BF16], ids=str)
@pytest.mark.parametrize("stride", [1, 2])
def test_narrow_tiles_over_lines_and_places(stride, dtype, every_target, compiled, monkeypatch):
    monkeypatch.setattr(lower, "LEAST_CHUNKS", 3)
    checked_lines(every_target, compiled, dtype, stride)


@pytest.mark.parametrize("chunks", ROWS)
def test_places_of_one_chunk_and_of_many(chunks, every_target, compiled, monkeypatch):
    monkeypatch.setattr(lower, "LEAST_CHUNKS", chunks)
    checked_lines(every_target, compiled, DType.U8, 1)


def test_as_many_lines_as_fit_the_tile(target):
    found = windows(lines_graph(target, DType.F32, 1), target)
    rows = found[0].tiling.rows
    assert [window.lines for window in found] == [max(1, rows // width) for width in WIDTHS]
    assert max(window.lines for window in found) == rows // 3
    for window in found:
        assert window.rows % window.lines == 0 or window.rows == window.out[0]
        assert not window.by_places


def test_matrix_registers_go_over_places_where_few_are_beyond_the_line(every_target, monkeypatch):
    """Of chunks of several lines; not where lines fill whole tiles, nor where they are not next to each other."""

    def chosen(stride, chunks):
        monkeypatch.setattr(lower, "LEAST_CHUNKS", chunks)
        graph = lines_graph(every_target, DType.U8, stride)
        whole = byte_conv(every_target, sized(32, stride), 64, 8, 3, {"pad": (1, 1, 1, 1), "stride": (stride, stride)})
        found = windows(joined(graph, whole), every_target)
        assert {window.tiling.matrix for window in found} == {every_target.matrix}
        assert not every_target.matrix or {window.lines for window in found} == {1}
        return {window.out[1] for window in found if window.by_places}

    narrow = {7, 8, 10, 17, 18} if every_target.matrix else set()
    assert narrow <= chosen(1, 1) <= set(WIDTHS)
    assert chosen(1, 1) == set() or every_target.matrix
    assert chosen(1, 32) <= set(range(3, 17))  # whose chunks have several lines all the same
    assert chosen(2, 1) == set()


def test_the_larger_of_weights_and_picture_is_gone_through_once(target):
    window = {"kernel": (1, 1)}
    few, many = (windows(conv(target, window, h=8, w=8, c=64, o=o), target)[0] for o in (8, 128))
    assert (few.panel_first, many.panel_first) == (False, True)


@pytest.mark.parametrize("shape", [(5, 7, 64, 130), (13, 13, 24, 8)], ids=["panels first", "pictures first"])
def test_both_orders_of_chunks(shape, target, compiled, monkeypatch):
    """The same sums with the same bits, in either order, at several panels and blocks of rows."""
    h, w, c, o = shape
    graph = conv(target, WINDOWS[0], h, w, c, o)
    first = run(compiled(graph, target))
    assert_summed(first, lambda f: conv(target, WINDOWS[0], h, w, c, o, f), terms=9 * c + 1)
    (found,) = windows(graph, target)
    made = lower.Window

    def turned(*fields):
        window = made(*fields)
        return replace(window, panel_first=not window.panel_first)

    monkeypatch.setattr(lower, "Window", turned)
    (other,) = windows(graph, target)
    assert found.panel_first != other.panel_first
    second = run(compiled(graph, target), first.inputs)
    same_bits(second.outputs, first.outputs)


def test_epilogues_over_lines_and_places(every_target, compiled, monkeypatch):
    """Residuals and narrow outputs go to the right places, whatever the order of rows in a tile."""
    monkeypatch.setattr(lower, "LEAST_CHUNKS", 2)
    graphs = []
    for size in (7, 10, 17):
        graph = Graph("residual", {"N": (1, 64)})
        x, r = graph.input("x", TensorType(DType.U8, (N, size, size, 64))), graph.input("r", f32(N, size, size, 40))
        weight = graph.constant(random_bytes(DType.I8, 40, 3, 5, 64, seed=size))
        total = graph.add(Cast(DType.F32), graph.add(Conv2d(pad=(1, 2, 1, 2)), x, weight))
        scaled = graph.add(Mul(), total, graph.constant(np.full(40, 2.0**-16, np.float32)))
        graph.output("y", graph.add(Quantize(0.0625, 100), graph.add(Add(), scaled, r)))
        pack_weights(graph, every_target)
        graphs.append(graph)
    program = compiled(joined(*graphs), every_target)
    inputs = [
        random_bytes(DType.U8, *v.type.at({"N": 5}), seed=n) if v.type.dtype is DType.U8 else random_array(v.type, 5, n)
        for n, v in enumerate(program.graph.inputs)
    ]
    result = run(program, inputs)
    assert_narrowed(result, share=0.001)
    labels = [label for label in program.labels if label.startswith("conv2d")]
    assert labels == ["conv2d+cast+mul+add+quantize"] * 3
