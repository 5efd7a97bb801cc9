"""Quantisation lowered: rows with a scale each, one scale for all, and back where what is stored is read."""

import numpy as np
import pytest

from alula.codegen.packing import pack_weights
from alula.codegen.program import lower_for
from alula.core.dtype import DType
from alula.core.errors import CodegenError
from alula.ir.graph import Graph
from alula.ir.op import Op
from alula.ir.types import TensorType
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Add, Cast, Gelu, Mul, Neg, Relu
from alula.ops.matmul import Linear
from alula.ops.norm import LayerNorm
from alula.ops.quantize import Dequantize, Quantize, QuantizeRows
from alula.ops.shape import Concat, Reshape, Slice, Transpose
from alula.ops.softmax import Softmax
from tests.codegen.harness import N, assert_close, assert_equal, f32, graph_of, joined, random_array, run

WIDTHS = (1, 7, 8, 9, 15, 16, 17, 33, 384)


def rows(width, shape=None, view=None):
    """Bytes and scales of the rows of an input, or of a view of it."""
    graph = graph_of(view or Slice(0, 0, N), f32(*(shape or (N, 3, width))))
    ((_, value),) = graph.outputs
    graph.outputs = list(zip("qsz", graph.add_node(QuantizeRows(), value).outputs, strict=True))
    return graph


def test_rows_of_every_width_are_bit_exact(every_target, compiled):
    """Zeros, rows of one sign, the largest at either end, and sizes from the least to the largest."""
    program = compiled(joined(*map(rows, WIDTHS)), every_target)
    inputs = [random_array(value.type, 5, n) for n, value in enumerate(program.graph.inputs)]
    for x in inputs:
        x[0, 0] = 0
        x[0, 1] = np.abs(x[0, 1])
        x[1] *= np.float32(1e-30)
        x[2] *= np.float32(1e30)
        x[3, 0, -1], x[3, 1, 0] = 50, -50
    assert_equal(run(program, inputs))
    assert program.labels == ["quantize_rows"] * len(WIDTHS)


def test_rows_of_views(target, compiled):
    result = run(
        compiled(joined(rows(20, (N, 3, 30), Slice(2, 4, 24)), rows(20, (N, 20, 5), Transpose((0, 2, 1)))), target)
    )
    assert_equal(result)
    assert sorted(result.compiled.labels) == ["quantize_rows", "quantize_rows", "transpose"]


def test_no_columns_and_columns_that_are_the_batch(target, compiled):
    assert_equal(run(compiled(rows(0), target)))
    graph = rows(0, (3, N), Slice(0, 1, 3))
    with pytest.raises(CodegenError, match=r"quantize_rows.*: expected a fixed row length, got N"):
        compiled(graph, target)


def test_one_scale_for_all(every_target, compiled):
    ops = [Quantize(0.03, zero) for zero in (0, 1, 128, 255)] + [Quantize(2.0**-100, 7), Quantize(2.0**100, 7)]
    program = compiled(
        joined(*(graph_of(op, f32(N, 3, width)) for op in ops for width in (1, 8, 17, 33))), every_target
    )
    inputs = [random_array(value.type, 5, n) for n, value in enumerate(program.graph.inputs)]
    for x in inputs:
        x[0, 0, 0], x[1, 0, 0], x[2, 0, 0], x[3, 0, 0] = np.nan, np.inf, -np.inf, 0.045
    assert_equal(run(program, inputs))
    assert program.labels == ["quantize"] * len(program.labels)


def test_after_elementwise_nodes(target, compiled):
    result = run(compiled(graph_of(Neg(), f32(N, 41), chain=[Quantize(0.02, 120)]), target))
    assert_equal(result)
    assert result.compiled.labels == ["neg+quantize"]


# What widens, the type it takes, and what makes that of float32.
BYTES = (Dequantize(0.03, 100), DType.U8, Quantize(0.03, 100))
WORDS = (Cast(DType.F32), DType.BF16, Cast(DType.BF16))
both = pytest.mark.parametrize("widening", [BYTES, WORDS], ids=["bytes", "bfloat16"])


def widened(graph: Graph, widening: tuple[Op, DType, Op], *shape: object, name: str = "q"):
    """An input that is stored narrow, in float32."""
    return graph.add(widening[0], graph.input(name, TensorType(widening[1], shape)), origin="test:1")


@pytest.mark.parametrize("zero", [0, 1, 128, 255])
def test_bytes_back_to_numbers_in_a_map(zero, every_target, compiled):
    ops = [Dequantize(scale, zero) for scale in (0.0173, 2.0**-120, 1e30)]
    types = [TensorType(DType.U8, (N, 3, width)) for width in (1, 8, 17, 33, 256)]
    program = compiled(joined(*(graph_of(op, type) for op in ops for type in types)), every_target)
    inputs = [random_array(value.type, 5, n) for n, value in enumerate(program.graph.inputs)]
    for x in inputs[4::5]:
        x[0, 0] = np.arange(256)
    assert_equal(run(program, inputs))
    assert program.labels == ["dequantize"] * len(program.labels)


def test_scales_and_zeros_are_parameters_of_one_kernel(target):
    ops = [Dequantize(0.5, 3), Dequantize(0.25, 200)]
    state = lower_for(joined(*(graph_of(op, TensorType(DType.U8, (N, 20)), chain=[Neg()]) for op in ops)), target)
    first, second = state.steps
    assert first.kernel == second.kernel
    assert (first.parameters, second.parameters) == ((0.5, 3.0), (0.25, 200.0))


@both
def test_what_is_stored_narrow_is_read_in_an_epilogue(widening, every_target, compiled):
    """Of a linear layer and of a convolution: no step of its own, no float32 in memory."""
    graph = Graph("epilogue", {"N": (1, 64)})
    shortcuts = [widened(graph, widening, N, 9, 37), widened(graph, widening, N, 4, 5, 37, name="r")]
    x, picture = graph.input("x", f32(N, 9, 20)), graph.input("p", f32(N, 4, 5, 8))
    layer = graph.add(Linear(), x, graph.constant(random_array(f32(37, 20), 1)))
    conv = graph.add(Conv2d(), picture, graph.constant(random_array(f32(37, 1, 1, 8), 1)))
    graph.output("y", graph.add(Relu(), graph.add(Add(), layer, shortcuts[0])))
    graph.output("z", graph.add(Relu(), graph.add(Add(), shortcuts[1], conv)))
    pack_weights(graph, every_target)
    result = run(compiled(graph, every_target))
    assert_close(result, ulps=60, floor=4.0)
    assert result.compiled.labels == ["linear+add+relu", "conv2d+add+relu"]
    assert result.compiled.program.arena_bytes == 0


@both
def test_shared_by_two_sums(widening, target, compiled):
    graph = Graph("shared", {"N": (1, 64)})
    x, y = graph.input("x", f32(N, 3, 41)), graph.input("y", f32(N, 3, 1))
    stored = widened(graph, widening, N, 3, 41)
    graph.output("a", graph.add(Add(), x, stored))
    graph.output("b", graph.add(Mul(), stored, y))
    graph.output("c", graph.add(Gelu(), graph.add(Add(), stored, stored)))
    result = run(compiled(graph, target))
    assert_close(result, ulps=4, floor=1.0)
    assert result.compiled.labels == ["add", "mul", "add+gelu"]


@both
def test_read_through_views_and_spread(widening, target, compiled):
    widen, dtype, _ = widening
    views = [Slice(2, 3, 20), Transpose((0, 2, 1)), Reshape((N, 66, 3))]
    graphs = [graph_of(view, TensorType(dtype, (N, 6, 33)), chain=[widen, Neg()]) for view in views]
    graph = Graph("spread", {"N": (1, 64)})
    graph.output("y", graph.add(Add(), graph.input("x", f32(N, 5, 17)), widened(graph, widening, 17)))
    result = run(compiled(joined(*graphs, graph), target))
    assert_close(result, ulps=1, floor=4.0)  # of what is added: the sum takes the product in unrounded
    assert result.compiled.labels == ["neg"] * 3 + ["add"]


@both
@pytest.mark.parametrize(
    ("other", "label"),
    [
        (lambda g, x: g.add(Softmax(2), x), "softmax"),
        (lambda g, x: g.add(LayerNorm(0.1), x, *(g.constant(np.ones(33, np.float32)) for _ in "gb")), "layer_norm"),
        (lambda g, x: g.add(Concat(1), x, x), "copy"),
        (lambda g, x: g.add(Relu(), g.add(Slice(2, 1, 20), x)), "relu"),
    ],
    ids=["softmax", "layer_norm", "concat", "slice"],
)
def test_who_needs_float32_in_memory_gets_it(other, label, widening, target, compiled):
    """Then it is a step of its own, once, which the sum reads too."""
    graph = Graph("both", {"N": (1, 64)})
    stored = widened(graph, widening, N, 3, 33)
    graph.output("y", graph.add(Add(), graph.input("x", f32(N, 3, 33)), stored))
    graph.output("z", other(graph, stored))
    result = run(compiled(graph, target))
    assert_close(result, ulps=30, floor=1.0)
    assert result.compiled.labels[:2] == [widening[0].name, "add"]
    assert set(result.compiled.labels[2:]) == {label}


@both
def test_an_output_of_the_graph_is_written_once(widening, target, compiled):
    graph = Graph("output", {"N": (1, 64)})
    stored = widened(graph, widening, N, 3, 33)
    graph.output("q", stored)
    graph.output("y", graph.add(Add(), graph.input("x", f32(N, 3, 33)), stored))
    result = run(compiled(graph, target))
    assert_close(result, ulps=1, floor=1.0)
    assert result.compiled.labels == [widening[0].name, "add"]


@both
def test_what_is_read_late_keeps_its_room(widening, target, compiled):
    """The narrow tensor lies in the arena until the last sum, though its widening stands at the front."""
    widen, _, narrow = widening
    graph = Graph("late", {"N": (1, 64)})
    x = graph.input("x", f32(N, 3, 65))
    stored = graph.add(widen, graph.add(narrow, x))
    value = x
    for _ in range(4):
        value = graph.add(Softmax(2), value)
    graph.output("y", graph.add(Add(), stored, value))
    result = run(compiled(graph, target))
    assert_close(result, ulps=30, floor=1.0)
    assert result.compiled.labels == [narrow.name, *["softmax"] * 4, "add"]


def test_the_sum_that_narrows_again_reads_and_writes_bytes(every_target, compiled):
    """x -> bytes; relu(x + product) -> bytes: the block of a residual network, of which float32 is never stored."""
    graph = Graph("block", {"N": (1, 64)})
    levels = graph.input("q", TensorType(DType.U8, (N, 9, 64)))
    weight = graph.constant(random_array(TensorType(DType.I8, (64, 64)), 1))
    total = graph.add(Cast(DType.F32), graph.add(Linear(), levels, weight))
    scaled = graph.add(Mul(), total, graph.constant(np.full(64, 2.0**-12, np.float32)))
    shortcut = graph.add(Dequantize(0.03125, 128), levels)
    graph.output("y", graph.add(Quantize(0.0625, 0), graph.add(Add(), scaled, shortcut)))
    pack_weights(graph, every_target)
    result = run(compiled(graph, every_target))
    assert_equal(result)  # all is exact but the last rounding
    assert [label for label in result.compiled.labels if label != "copy"] == ["linear+cast+mul+add+quantize"]
    assert {step.shape for step in result.compiled.program.steps} <= {"u8[N,9,64]"}
