import pytest

from alula.ir.graph import Value
from alula.ops.elementwise import Abs, Add, Gelu, Mul, Relu, Sub
from alula.ops.norm import BatchNorm, LayerNorm
from alula.ops.reduce import ReduceMax, ReduceMean
from alula.ops.shape import Concat, Pad, Reshape, Transpose
from alula.ops.softmax import Softmax
from alula.passes.sink_transposes import SinkTransposes
from alula.passes.views import trace
from tests.passes.graphs import TO_NCHW, TO_NHWC, Builder, N, changed

ODD = (0, 2, 1, 3)  # leaves the last axis in its place

MOVED = {
    "relu": (TO_NCHW, lambda b, t, u: b(Relu(), t), TO_NCHW),
    "binary": (TO_NCHW, lambda b, t, u: b(Sub(), t, u), TO_NCHW),
    "both operands are one": (TO_NCHW, lambda b, t, u: b(Mul(), t, t), TO_NCHW),
    "scalar": (TO_NCHW, lambda b, t, u: b(Mul(), b.number(3), t), TO_NCHW),
    "constant row": (TO_NCHW, lambda b, t, u: b(Add(), t, b.constant(7)), TO_NCHW),
    "constant channels": (TO_NCHW, lambda b, t, u: b(Mul(), t, b.constant(8, 1, 1)), TO_NCHW),
    "constant of all": (TO_NCHW, lambda b, t, u: b(Mul(), t, b.constant(1, 8, 6, 7)), TO_NCHW),
    "one row of each image": (TO_NCHW, lambda b, t, u: b(Mul(), t, b(Reshape((N, 8, 1, 1)), b.inputs[2])), TO_NCHW),
    "concat": (TO_NCHW, lambda b, t, u: b(Concat(1), t, u, b(Transpose(TO_NCHW), b.inputs[0])), TO_NCHW),
    "pad": (TO_NCHW, lambda b, t, u: b(Pad((0, 1, 2, 3), (4, 0, 1, 0)), t), TO_NCHW),
    "softmax over channels": (TO_NCHW, lambda b, t, u: b(Softmax(1), t), TO_NCHW),
    "mean over places": (TO_NCHW, lambda b, t, u: b(ReduceMean((2, 3), keepdims=True), t), TO_NCHW),
    "max of rows": (TO_NCHW, lambda b, t, u: b(ReduceMax((2,)), t), (0, 2, 1)),
    "layer_norm": (ODD, lambda b, t, u: b(LayerNorm(1e-5), t, b.constant(8), b.constant(8)), ODD),
    "batch_norm": (ODD, lambda b, t, u: b(BatchNorm(1e-5), t, *(b.constant(8, low=0.1) for _ in range(4))), ODD),
}
PIXELS = Reshape((N, 3, 7, 2, 1, 8))  # what a transposed convolution makes; its pixels in their rows: (N, 6, 7, 8)


def pixels(b: Builder) -> Value:
    """f32[N,8,6,7] of what lies otherwise."""
    return b(Reshape((N, 8, 6, 7)), b(Transpose((0, 5, 1, 3, 2, 4)), b(PIXELS, b(Abs(), b.inputs[0]))))


LEFT = {
    "softmax that is over the last axis": (TO_NCHW, lambda b, t, u: b(Softmax(3), t)),
    "layer_norm over another axis": (TO_NCHW, lambda b, t, u: b(LayerNorm(1e-5), t, b.constant(7), b.constant(7))),
    "an operand in another order": (TO_NCHW, lambda b, t, u: b(Add(), t, b(Reshape((N, 8, 6, 7)), b.inputs[0]))),
    "concat with another order": (TO_NCHW, lambda b, t, u: b(Concat(1), t, b(Reshape((N, 8, 6, 7)), b.inputs[0]))),
    "broadcast to a higher rank": (TO_NCHW, lambda b, t, u: b(Add(), t, b.constant(2, 1, 1, 1, 1))),
    "what moves once for others too": (TO_NCHW, lambda b, t, u: twice(b, t, pixels(b))),
}


def twice(b: Builder, t: Value, u: Value) -> Value:
    """A concatenation of which the second part is an output as well."""
    b.graph.output("again", u)
    return b(Concat(1), t, u)


def build(perm: tuple[int, ...], make: object) -> tuple[Builder, Value]:
    b = Builder((N, 6, 7, 8), (N, 6, 7, 8), (N, 8))
    turned = [b(Transpose(perm), b(Abs(), b.inputs[i])) for i in range(2)]
    return b, make(b, *turned)


@pytest.mark.parametrize("case", MOVED)
def test_the_transpose_comes_after(case: str) -> None:
    perm, make, after = MOVED[case]
    b, value = build(perm, make)
    op = value.producer.op
    graph = b.finish(value)
    changed(graph, SinkTransposes())
    last = graph.outputs[0][1].producer
    assert last.op == Transpose(after)
    assert isinstance(last.inputs[0].producer.op, type(op))


@pytest.mark.parametrize("case", LEFT)
def test_where_the_order_matters_it_stays(case: str) -> None:
    perm, make = LEFT[case]
    b, value = build(perm, make)
    assert changed(b.finish(value), SinkTransposes()) == 0


def test_a_transpose_whose_result_is_an_output_too_is_not_made_twice() -> None:
    b = Builder((N, 6, 7, 8))
    turned = b(Transpose(TO_NCHW), b.inputs[0])
    assert changed(b.finish(turned, b(Relu(), turned)), SinkTransposes()) == 0


def test_it_moves_past_a_whole_chain() -> None:
    b = Builder((N, 6, 7, 8))
    graph = b.finish(b(Gelu(), b(Relu(), b(Abs(), b(Transpose(TO_NHWC), b.inputs[0])))))
    assert changed(graph, SinkTransposes()) == 3
    assert [node.op.name for node in graph.nodes] == ["abs", "relu", "gelu", "transpose"]


@pytest.mark.parametrize("op", [Concat(1), Add()], ids=lambda op: op.name)
def test_what_moves_anyway_moves_into_the_other_order(op: Concat) -> None:
    b = Builder((N, 6, 7, 8), (N, 6, 7, 8))
    graph = b.finish(b(op, b(Transpose(TO_NCHW), b(Abs(), b.inputs[1])), pixels(b)))
    assert changed(graph, SinkTransposes()) == 1
    last = graph.outputs[0][1].producer
    assert last.op == Transpose(TO_NCHW)
    apart, together = (trace(value)[-1][1] for value in last.inputs[0].producer.inputs)
    assert apart.keeps_order
    assert together.shape == (N, 6, 7, 8)
    assert changed(graph, SinkTransposes()) == 0


def test_tokens_need_not_move_at_all() -> None:
    b = Builder((N, 6, 7, 8), (N, 42, 8))
    tokens = b(Reshape((N, 8, 6, 7)), b(Transpose((0, 2, 1)), b(Abs(), b.inputs[1])))
    graph = b.finish(b(Concat(1), b(Transpose(TO_NCHW), b(Abs(), b.inputs[0])), tokens))
    assert changed(graph, SinkTransposes()) == 1
    parts = graph.outputs[0][1].producer.inputs[0].producer.inputs
    assert [value.producer.op.name for value in parts] == ["abs", "reshape"]
