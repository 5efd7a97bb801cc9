"""Editing a graph: uses, order, errors that name the node."""

import numpy as np
import pytest

from alula.core.dtype import DType
from alula.core.errors import GraphError, ShapeError
from alula.ir.graph import Graph, constant_arrays, sole_producer
from alula.ir.types import TensorType
from alula.ir.verifier import verify
from alula.ops.elementwise import Add, Exp, Neg, Relu
from tests.ir.graphs import small_network

F = TensorType(DType.F32, (2, 3))


def chain() -> Graph:
    """x -> exp -> neg -> y, and exp + exp -> z."""
    graph = Graph("chain")
    x = graph.input("x", F)
    exp = graph.add(Exp(), x)
    graph.output("y", graph.add(Neg(), exp))
    graph.output("z", graph.add(Add(), exp, exp))
    return graph


def names(graph: Graph) -> list[str]:
    return [node.op.name for node in graph.nodes]


def test_replace_keeps_uses_right() -> None:
    graph = chain()
    exp = graph.nodes[0]
    with graph.before(exp):
        relu = graph.add(Relu(), graph.inputs[0])
    graph.replace(exp.output, relu)
    assert exp.output.uses == []
    assert relu.uses == [graph.nodes[2], graph.nodes[3], graph.nodes[3]]
    graph.remove(exp)
    verify(graph)
    assert names(graph) == ["relu", "neg", "add"]


def test_replace_reaches_outputs_and_refuses_another_type() -> None:
    graph = chain()
    y = graph.outputs[0][1]
    graph.replace(y, graph.outputs[1][1])
    assert graph.outputs[0][1] is graph.outputs[1][1]
    with pytest.raises(GraphError, match=r"replace: expected f32\[2,3\], got f32\[1\]"):
        graph.replace(y, graph.constant(np.zeros(1, np.float32)))


def test_before_keeps_the_order_and_the_origin_even_nested() -> None:
    graph = chain()
    _, neg, add = graph.nodes
    neg.origin = "layer model.py:3"
    with graph.before(neg):
        first = graph.add(Relu(), graph.inputs[0])
        with graph.before(graph.nodes[0]):
            graph.add(Relu(), graph.inputs[0])
        graph.remove(graph.nodes[0])
        second = graph.add(Relu(), first)
    assert [node.origin for node in graph.nodes] == ["", neg.origin, neg.origin, neg.origin, ""]
    assert graph.nodes[3] is neg
    assert graph.nodes[2].output is second
    assert graph.nodes[4] is add
    graph.add(Relu(), second)
    assert names(graph) == ["exp", "relu", "relu", "neg", "add", "relu"]
    assert graph.nodes[-1].origin == ""
    verify(graph)


def test_remove_refuses_what_is_used() -> None:
    graph = chain()
    for node in graph.nodes:
        with pytest.raises(GraphError, match=r"remove: expected [a-z]+ to be unused"):
            graph.remove(node)


def test_who_uses_what() -> None:
    graph = chain()
    exp, neg, add = graph.nodes
    assert graph.sole_use(graph.inputs[0]) is exp
    assert graph.sole_use(exp.output) is None
    assert graph.sole_use(neg.output) is None
    assert sole_producer(graph, exp.output, Exp) is None
    assert sole_producer(graph, graph.inputs[0], Exp) is None
    relu = graph.add(Relu(), graph.inputs[0])
    graph.add(Neg(), relu)
    assert sole_producer(graph, relu, Relu) is relu.producer
    assert sole_producer(graph, relu, Exp) is None
    graph.output("relu", relu)
    assert sole_producer(graph, relu, Relu) is None
    assert graph.is_used(add.output)


def test_constants_are_held_in_the_order_of_use() -> None:
    graph = small_network()
    kernel, weight = graph.constants()
    assert (kernel.name, weight.name) == ("stem.weight", "head.weight")
    data = np.ones(3, np.float32)
    held = graph.constant(data)
    assert held.data is data
    assert graph.constants() == [kernel, weight]
    graph.output("held", held)
    assert graph.constants() == [kernel, weight, held]
    assert constant_arrays([held, kernel]) == [data, kernel.data]
    assert constant_arrays([held, graph.inputs[0]]) is None


def test_errors_name_op_node_and_origin() -> None:
    graph = chain()
    wrong = graph.input("w", TensorType(DType.F32, (4,)))
    with pytest.raises(ShapeError) as caught:
        graph.add(Add(), graph.inputs[0], wrong, origin="blocks.3 model.py:7")
    text = "add %3 (blocks.3 model.py:7): expected shapes that broadcast, got [2,3] and [4]"
    assert str(caught.value) == text
    assert len(graph.nodes) == 3
    assert wrong.uses == []
    verify(graph)
