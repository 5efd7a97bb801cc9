import numpy as np

from alula.ops.elementwise import Abs, Add, Mul, Neg
from alula.ops.matmul import Linear
from alula.ops.shape import Pad, Reshape
from alula.passes.remove_duplicates import RemoveDuplicates
from tests.passes.graphs import Builder, N, changed, counts


def test_equal_trees_are_computed_once() -> None:
    b = Builder((N, 4))
    x = b.inputs[0]
    twice = [b(Neg(), b(Mul(), b(Abs(), x), b.number(2))) for _ in range(2)]
    graph = b.finish(b(Add(), *twice))
    assert changed(graph, RemoveDuplicates()) == 3
    assert counts(graph) == {"abs": 1, "add": 1, "mul": 1, "neg": 1}


def test_attributes_operands_and_constants_tell_nodes_apart() -> None:
    b = Builder((N, 4))
    x = b.inputs[0]
    graph = b.finish(
        b(Reshape((N, 2, 2)), x),
        b(Reshape((N, 4, 1)), x),
        b(Mul(), x, b.number(2)),
        b(Mul(), x, b.number(3)),
        b(Pad((0, 1), (0, 0), 0.0), x),
        b(Pad((0, 1), (0, 0), -0.0), x),
    )
    assert changed(graph, RemoveDuplicates()) == 0


def test_large_constants_are_not_compared_by_their_elements() -> None:
    b = Builder((N, 64))
    x, weight = b.inputs[0], b.constant(64, 64)
    copy = b.graph.constant(weight.data.copy())
    graph = b.finish(*(b(Linear(), x, w) for w in (weight, weight, copy)))
    assert changed(graph, RemoveDuplicates()) == 1
    assert counts(graph) == {"linear": 2}


def test_small_constants_of_other_types_are_not_equal() -> None:
    b = Builder((N, 1))
    x = b.inputs[0]
    one, row = b.graph.constant(np.zeros(1, np.float32)), b.graph.constant(np.zeros((1, 1), np.float32))
    graph = b.finish(b(Add(), x, one), b(Add(), x, row))
    assert changed(graph, RemoveDuplicates()) == 0
