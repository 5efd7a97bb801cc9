"""What moves elements: concatenation, padding, views that become copies; every element type, bit by bit."""

import numpy as np
import pytest

from alula.codegen.packing import pack_weights
from alula.core.dtype import DType
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.conv import Conv2d
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.elementwise import Neg, Relu
from alula.ops.matmul import Linear
from alula.ops.pool import AvgPool2d, MaxPool2d
from alula.ops.reduce import ReduceMean
from alula.ops.shape import Concat, Expand, Pad, Reshape, Slice, Transpose
from tests.codegen.harness import N, assert_equal, assert_summed, f32, graph_of, joined, random_array, run


def test_concat_along_any_axis(target, compiled):
    def build(axis):
        shapes = [[N, 3, 4, 17] for _ in range(4)]
        for shape, size in zip(shapes, (1, 0, 7, 16), strict=True):
            shape[axis] = size
        return graph_of(Concat(axis), *(f32(*shape) for shape in shapes))

    result = run(compiled(joined(*map(build, (1, 2, 3))), target))
    assert_equal(result)
    assert result.compiled.labels == ["copy"] * 12


def test_concat_of_batches(target, compiled):
    result = run(compiled(graph_of(Concat(0), f32(N, 5), f32(3, 5), f32(N * 2, 5)), target))
    assert_equal(result)


def test_concat_of_a_broadcast_row(target, compiled):
    graph = Graph("tokens", {"N": (1, 64)})
    row = graph.constant(np.arange(40, dtype=np.float32).reshape(1, 1, 40))
    graph.output("y", graph.add(Concat(1), graph.add(Expand((N, 1, 40)), row), graph.input("x", f32(N, 9, 40))))
    assert_equal(run(compiled(graph, target)))


def test_pad_fills_around(target, compiled):
    op = Pad((0, 1, 0, 2), (0, 0, 2, 3), -1.5)
    result = run(compiled(joined(*(graph_of(op, f32(N, 2, 3, width)) for width in (1, 15, 16, 17))), target))
    assert_equal(result)
    assert result.compiled.labels == ["fill", "copy"] * 4


@pytest.mark.parametrize("dtype", list(DType), ids=str)
def test_any_element_type_moves(dtype, target, compiled):
    type = TensorType(dtype, (N, 9, 10))
    ops = [
        Transpose((0, 2, 1)),
        Pad((0, 0, 0), (0, 1, 2), 1.0),
        Slice(1, 1, 11, 2),
        Reshape((N, 55)),
        Expand((2, N, 55)),
    ]
    assert_equal(run(compiled(joined(graph_of(ops[0], type, chain=ops[1:]), graph_of(Concat(1), type, type)), target)))


PERMUTATIONS = [(0, 2, 1, 3), (0, 3, 1, 2), (0, 3, 2, 1), (0, 1, 3, 2), (2, 0, 1, 3), (3, 2, 1, 0)]
MATRICES = [(4, 5), (15, 16), (16, 16), (17, 33), (50, 5), (300, 40), (8, 2500), (530, 133)]


@pytest.mark.parametrize("shape", [(N, 3, 5, 7), (N, 16, 2, 33), (N, 1, 17, 48)])
def test_transposes(shape, target, compiled):
    assert_equal(run(compiled(joined(*(graph_of(Transpose(perm), f32(*shape)) for perm in PERMUTATIONS)), target)))


def test_transposed_copies_turn_blocks_in_registers(target, compiled):
    graphs = [graph_of(Transpose((0, 2, 1)), f32(N, width, height)) for height, width in MATRICES]
    result = run(compiled(joined(*graphs), target))
    assert_equal(result)
    assert result.compiled.labels == ["transpose"] * len(MATRICES)


def test_views_alone_cost_nothing(target, compiled):
    result = run(compiled(graph_of(Reshape((N * 4, 6)), f32(N, 24), chain=[Slice(1, 2, 5), Neg()]), target))
    assert_equal(result)
    assert result.compiled.labels == ["neg"]


def test_the_same_value_as_several_outputs(target, compiled):
    graph = Graph("outputs", {"N": (1, 64)})
    x = graph.input("x", f32(N, 20))
    y = graph.add(Neg(), x)
    for name, value in (("y", y), ("x", x), ("again", y), ("part", graph.add(Slice(1, 3, 7), y))):
        graph.output(name, value)
    graph.output("constant", graph.constant(random_array(f32(3, 4), 1)))
    assert_equal(run(compiled(graph, target)))


def test_empty_tensors(target, compiled):
    cases = (
        (Concat(1), [f32(N, 0), f32(N, 0)]),
        (Pad((0, 1), (0, 2)), [f32(N, 0)]),
        (Pad((0, 0), (0, 0)), [f32(N, 0)]),
        (Transpose((0, 2, 1)), [f32(N, 0, 5)]),
        (Neg(), [f32(N, 0, 5)]),
    )
    assert_equal(run(compiled(joined(*(graph_of(op, *operands) for op, operands in cases)), target)))


def parts(target, f=lambda x: x, twice=()):
    """What every kernel that writes rows makes of x, concatenated; and that with more of it, twice read as a whole."""
    graph = Graph("parts", {"N": (1, 64)})
    x = graph.input("x", f32(N, 6, 5, 12))

    def weight(*shape):
        return graph.constant(f(random_array(f32(*shape), 1, len(shape))))

    made = [
        graph.add(Conv2d(pad=(1, 1, 1, 1)), x, weight(33, 3, 3, 12)),
        graph.add(DepthwiseConv2d(pad=(1, 1, 1, 1)), x, weight(3, 3, 12)),
        graph.add(MaxPool2d((3, 3), (1, 1), (1, 1, 1, 1)), x),
        graph.add(Relu(), x),
        graph.add(Linear(), x, weight(7, 12)),
    ]
    for number in twice:
        graph.output(f"more{number}", graph.add(Conv2d(), made[number], weight(4, 2, 2, made[number].type.shape[3])))
    first = graph.add(Concat(3), *made[:4])
    second = graph.add(Concat(3), first, made[4])
    graph.output("y", graph.add(Linear(), second, weight(9, 76)))
    graph.output("z", graph.add(AvgPool2d((2, 2), (2, 1)), first))
    graph.output("m", graph.add(ReduceMean((1, 2), keepdims=False), second))
    pack_weights(graph, target)
    return graph


def test_parts_are_written_where_the_concatenation_wants_them(target, compiled):
    result = run(compiled(parts(target), target))
    assert_summed(result, lambda f: parts(target, f), terms=300)
    assert "copy" not in result.compiled.labels
    assert result.compiled.labels.count("pad") == 1


def test_parts_that_others_want_contiguous_are_copied(target, compiled):
    result = run(compiled(parts(target, twice=(0, 3)), target))
    assert_summed(result, lambda f: parts(target, f, (0, 3)), terms=300)
    assert result.compiled.labels.count("copy") == 2


def test_inputs_and_what_stands_twice_are_copied(target, compiled):
    graph = Graph("twice", {"N": (1, 64)})
    x = graph.input("x", f32(N, 3, 5))
    y = graph.add(Neg(), x)
    graph.output("y", graph.add(Neg(), graph.add(Concat(2), x, y, y)))
    result = run(compiled(graph, target))
    assert_equal(result)
    assert result.compiled.labels == ["neg", "copy", "copy", "neg"]


def test_what_moves_goes_where_the_concatenation_wants_it(target, compiled):
    graph = Graph("pixels", {"N": (1, 64)})
    x, y = graph.input("x", f32(N, 3, 5, 2, 8)), graph.input("y", f32(N, 6, 5, 7))
    pixels = graph.add(Reshape((N, 6, 5, 8)), graph.add(Transpose((0, 1, 3, 2, 4)), x))
    graph.output("z", graph.add(Concat(3), graph.add(Neg(), y), pixels))
    result = run(compiled(graph, target))
    assert_equal(result)
    assert result.compiled.labels == ["neg", "copy"]


def test_rows_of_another_shape_are_written_there_too(target, compiled):
    graph = Graph("tokens", {"N": (1, 64)})
    tokens = graph.add(Relu(), graph.input("x", f32(N, 30, 8)))
    rows = graph.add(Reshape((N, 6, 5, 8)), tokens)
    graph.output("z", graph.add(Concat(3), graph.add(Neg(), graph.input("y", f32(N, 6, 5, 7))), rows))
    result = run(compiled(graph, target))
    assert_equal(result)
    assert result.compiled.labels == ["relu", "neg"]
