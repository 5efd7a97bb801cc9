import pytest

from alula.core.dtype import DType
from alula.ir.graph import Value
from alula.ops.elementwise import Cast, Gelu, Relu
from alula.ops.pool import AvgPool2d, MaxPool2d
from alula.ops.quantize import Quantize
from alula.ops.shape import Concat, Expand, Reshape, Slice, Transpose
from alula.passes.hoist_narrowing import HoistNarrowing
from tests.passes.graphs import Builder, N, changed

NARROW = Cast(DType.BF16)
NARROWINGS = [NARROW, Quantize(0.03, 100)]
VIEWS = [Reshape((N * 4, 6)), Transpose((0, 2, 1)), Slice(1, 1, 3)]


def order(b: Builder) -> list[str]:
    """The ops in use."""
    return [node.op.name for node in b.graph.nodes if b.graph.is_used(node.output)]


def made(b: Builder) -> Value:
    return b(Gelu(), b.inputs[0])


@pytest.mark.parametrize("narrow", NARROWINGS, ids=lambda op: op.name)
@pytest.mark.parametrize("view", VIEWS, ids=lambda op: op.name)
def test_narrowing_goes_before_a_view(view: Reshape, narrow: Quantize) -> None:
    b = Builder((N, 4, 6))
    graph = b.finish(b(narrow, b(view, made(b))))
    assert changed(graph, HoistNarrowing()) == 1
    assert order(b) == ["gelu", narrow.name, view.name]
    assert graph.outputs[0][1].producer.op == view


def test_through_several_views() -> None:
    b = Builder((N, 4, 6))
    graph = b.finish(b(NARROW, b(Slice(1, 0, 2), b(Transpose((0, 2, 1)), made(b)))))
    assert changed(graph, HoistNarrowing()) == 2
    narrowed = [node for node in graph.nodes if node.op == NARROW and node.output.uses]
    assert [node.inputs[0].producer.op.name for node in narrowed] == ["gelu"]


def test_all_parts_of_a_value_narrowed_alike_are_one_narrowing_each() -> None:
    b = Builder((N, 4, 6))
    x = made(b)
    graph = b.finish(*(b(NARROW, b(Slice(2, start, start + 2), x)) for start in (0, 2, 4)))
    assert changed(graph, HoistNarrowing()) == 3
    assert all(value.producer.op.name == "slice" for _, value in graph.outputs)


@pytest.mark.parametrize(
    "other",
    [
        lambda b, x: b(Relu(), b(Slice(2, 0, 2), x)),  # in float32, through a view
        lambda b, x: b(Relu(), x),
        lambda b, x: b(Cast(DType.I32), x),
        lambda b, x: b(Quantize(0.5, 3), x),
        lambda b, x: x,  # an output of the graph
        lambda b, x: b(Transpose((0, 2, 1)), x),  # so is a view of it
    ],
)
def test_where_others_want_float32_it_stays(other: object) -> None:
    b = Builder((N, 4, 6))
    x = made(b)
    graph = b.finish(b(NARROW, b(Slice(2, 2, 4), x)), other(b, x))
    assert changed(graph, HoistNarrowing()) == 0


@pytest.mark.parametrize("cast", [Cast(DType.F16), Cast(DType.U8), Cast(DType.I32), Cast(DType.F64)], ids=str)
def test_other_casts_stay(cast: Cast) -> None:
    b = Builder((N, 4, 6))
    assert changed(b.finish(b(cast, b(Slice(2, 2, 4), b(Relu(), b.inputs[0])))), HoistNarrowing()) == 0


def test_an_expansion_is_no_view_to_go_before() -> None:
    b = Builder((N, 1, 6))
    assert changed(b.finish(b(NARROW, b(Expand((N, 4, 6)), made(b)))), HoistNarrowing()) == 0


def test_what_no_view_made_stays() -> None:
    b = Builder((N, 4, 6))
    assert changed(b.finish(b(NARROW, made(b)), b(NARROW, b.inputs[0])), HoistNarrowing()) == 0


WINDOW = ((3, 3), (2, 2), (1, 1, 1, 1))


@pytest.mark.parametrize("narrow", NARROWINGS, ids=lambda op: op.name)
def test_the_greatest_is_found_among_narrow_elements(narrow: Quantize) -> None:
    """They are rounded in the same order, and padding wins over none of them."""
    b = Builder((N, 5, 6, 4))
    graph = b.finish(b(narrow, b(MaxPool2d(*WINDOW), made(b))))
    assert changed(graph, HoistNarrowing()) == 1
    assert order(b) == ["gelu", narrow.name, "max_pool2d"]
    assert graph.outputs[0][1].type.dtype in (DType.BF16, DType.U8)


def test_a_picture_and_its_greatest_elements_narrowed_alike() -> None:
    b = Builder((N, 5, 6, 4))
    x = made(b)
    graph = b.finish(b(NARROW, b(MaxPool2d(*WINDOW), x)), b(NARROW, b(Slice(1, 0, 2), x)), b(NARROW, x))
    assert changed(graph, HoistNarrowing()) == 2
    assert {user.op.name for user in x.uses if b.graph.is_used(user.output)} == {"cast"}


@pytest.mark.parametrize(
    "other",
    [lambda b, x: b(Relu(), x), lambda b, x: b(Relu(), b(MaxPool2d(*WINDOW), x)), lambda b, x: x],
    ids=["relu", "pool", "output"],
)
def test_a_pooling_of_what_others_want_in_float32_stays(other: object) -> None:
    b = Builder((N, 5, 6, 4))
    x = made(b)
    assert changed(b.finish(b(NARROW, b(MaxPool2d(*WINDOW), x)), other(b, x)), HoistNarrowing()) == 0


def test_a_mean_is_of_float32() -> None:
    b = Builder((N, 5, 6, 4))
    assert changed(b.finish(b(NARROW, b(AvgPool2d(*WINDOW), made(b)))), HoistNarrowing()) == 0


@pytest.mark.parametrize("narrow", NARROWINGS, ids=lambda op: op.name)
def test_a_transposed_input_of_the_graph_is_turned_in_float32(narrow: Quantize) -> None:
    b = Builder((N, 4, 6))
    x = b.inputs[0]
    assert changed(b.finish(b(narrow, b(Transpose((0, 2, 1)), x))), HoistNarrowing()) == 0
    b = Builder((N, 4, 6))
    graph = b.finish(b(narrow, b(Slice(1, 1, 3), b.inputs[0])))
    assert changed(graph, HoistNarrowing()) == 1  # a part of one is not


@pytest.mark.parametrize("narrow", NARROWINGS, ids=lambda op: op.name)
def test_a_concatenation_is_narrowed_part_by_part(narrow: Quantize) -> None:
    b = Builder((N, 4, 6))
    x, y = made(b), b(Relu(), b.inputs[0])
    b.graph.output("y", y)  # others want it in float32
    joined = b(Concat(2), x, y)
    graph = b.finish(b(narrow, b(Transpose((0, 2, 1)), joined)), b(narrow, b(Slice(1, 1, 3), joined)))
    changed(graph, HoistNarrowing())
    last = graph.outputs[1][1].producer.inputs[0].producer
    assert last.op == Concat(2)
    assert [value.producer.op for value in last.inputs] == [narrow, narrow]
    assert [value.producer.inputs[0].producer.op.name for value in last.inputs] == ["gelu", "relu"]


def test_a_concatenation_that_others_want_in_float32_stays() -> None:
    b = Builder((N, 4, 6))
    joined = b(Concat(2), made(b), b(Relu(), b.inputs[0]))
    assert changed(b.finish(b(NARROW, joined), b(Relu(), joined)), HoistNarrowing()) == 0
