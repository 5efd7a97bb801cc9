import tracemalloc

import numpy as np
import pytest

from alula.analysis.walk import Known, walk
from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.elementwise import Exp, Neg, Relu, Tanh
from alula.ops.reference import reference_values

X = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 12)


def chain(*ops: object) -> Graph:
    graph = Graph("chain", {"N": (1, 8)})
    value = graph.input("x", TensorType(DType.F32, (symbol("N"), 12)))
    for op in ops:
        value = graph.add(op, value)
    graph.output("y", value)
    return graph


def test_an_error_shows_where_it_is_made_and_accumulates_after_it() -> None:
    right, wrong = chain(Tanh(), Exp(), Neg(), Tanh()), chain(Tanh(), Relu(), Neg(), Tanh())
    ours = [node.output for node in wrong.nodes]
    theirs = {node.output: value for node, value in zip(right.nodes, ours, strict=True)}
    known = Known(((theirs[value], array) for value, array in reference_values(right, [X])), ours)
    rows = [row.checked() for row in walk(wrong, [X], known)]
    assert [row.node.op.name for row in rows] == ["tanh", "relu", "neg", "tanh"]
    assert [row.local.relative > 0.1 for row in rows] == [False, True, False, False]
    assert [row.accumulated.relative > 0.1 for row in rows] == [False, True, True, True]
    assert rows[2].local.relative == 0


def test_what_nothing_is_known_of_is_computed() -> None:
    graph = chain(Tanh(), Exp(), Neg())
    values = [node.output for node in graph.nodes]
    known = Known([(values[2], -np.exp(np.tanh(X)) * 1.5)], [values[2]])
    (row,) = [row.checked() for row in walk(graph, [X], known)]
    assert row.value is values[2]
    assert row.local.relative == pytest.approx(1 / 3, rel=1e-5)
    assert row.local == row.accumulated


def test_known_arrays_in_another_order() -> None:
    graph = chain(Tanh(), Exp())
    first, second = (node.output for node in graph.nodes)
    arrays = dict(reference_values(graph, [X]))
    for order in ((first, second), (second, first)):
        known = Known([(value, arrays[value]) for value in order], order)
        assert [row.checked().local.relative for row in walk(graph, [X], known)] == [0, 0]
    assert Known([], [first]).take(first) is None
    assert Known([(first, X)], [second]).take(first) is None


def peak_bytes(depth: int) -> int:
    graph = Graph("long", {"N": (1, 8)})
    value = graph.input("x", TensorType(DType.F32, (symbol("N"), 1 << 18)))
    for _ in range(depth):
        value = graph.add(Neg(), value)
    graph.output("y", value)
    x = np.ones((1, 1 << 18), np.float32)
    tracemalloc.start()
    for _ in walk(graph, [x], Known(reference_values(graph, [x]), [node.output for node in graph.nodes])):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_few_tensors_are_alive_however_deep_the_graph() -> None:
    assert peak_bytes(32) < peak_bytes(4) + (1 << 20)
