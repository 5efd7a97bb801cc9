import pytest

from alula.ops.elementwise import Add, Gelu, Mul, Relu, Sub
from alula.ops.shape import Reshape
from alula.passes.sink_reshapes import SinkReshapes
from tests.passes.graphs import Builder, N, changed

MOVED = {
    "unary": lambda b, x: b(Gelu(), x),
    "scalar": lambda b, x: b(Mul(), b.number(2), x),
    "scalar of rank 3": lambda b, x: b(Sub(), b.constant(1, 1, 1), x),
    "last axis": lambda b, x: b(Add(), x, b.constant(8)),
    "last axis of rank 3": lambda b, x: b(Add(), b.constant(1, 1, 8), x),
}
LEFT = {
    "rows": lambda b, x: b(Add(), x, b.constant(30, 1)),
    "all": lambda b, x: b(Add(), x, b.constant(30, 8)),
    "no constant": lambda b, x: b(Add(), x, b.inputs[1]),
    "a reshape of another shape": lambda b, x: b(Add(), x, b(Reshape((N, 30, 8)), b.inputs[2])),
}


@pytest.mark.parametrize("case", MOVED)
def test_the_reshape_comes_after(case: str) -> None:
    b = Builder((N, 5, 6, 8), (N, 30, 8), (N, 240))
    graph = b.finish(MOVED[case](b, b(Reshape((N, 30, 8)), b.inputs[0])))
    assert changed(graph, SinkReshapes()) == 1
    assert graph.nodes[-1].op == Reshape((N, 30, 8))


@pytest.mark.parametrize("case", LEFT)
def test_what_tells_rows_apart_stays(case: str) -> None:
    b = Builder((N, 5, 6, 8), (N, 30, 8), (N, 240))
    graph = b.finish(LEFT[case](b, b(Reshape((N, 30, 8)), b.inputs[0])))
    assert changed(graph, SinkReshapes()) == 0


def test_a_last_axis_that_is_split_stays() -> None:
    b = Builder((N, 5, 48), (N, 5, 1, 8))
    split = b(Add(), b(Reshape((N, 5, 6, 8)), b.inputs[0]), b.constant(8))
    graph = b.finish(b(Relu(), split))
    assert changed(graph, SinkReshapes()) == 0


def test_two_reshapes_alike_become_one() -> None:
    b = Builder((N, 5, 6, 8), (N, 5, 6, 8))
    left, right = (b(Reshape((N, 30, 8)), value) for value in b.inputs)
    graph = b.finish(b(Sub(), left, right))
    assert changed(graph, SinkReshapes()) == 1
    assert [node.op for node in graph.nodes] == [Sub(), Reshape((N, 30, 8))]
