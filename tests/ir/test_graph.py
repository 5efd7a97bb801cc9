"""Editing a graph: uses, order, errors that name the node."""

import numpy as np
import pytest

from alula.core.dtype import DType
from alula.core.errors import GraphError, ShapeError
from alula.ir.graph import Graph, constant_arrays, sole_producer
from alula.ir.types import TensorType
from alula.ir.verifier import verify
from alula.ops.elementwise import Add, Exp, Neg, Relu
from alula.ops.quantize import QuantizeRows
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


def test_a_copy_is_the_same_graph_and_shares_nothing_but_constants() -> None:
    graph = small_network()
    graph.provenance["weights"] = "a.pth"
    copy, values = graph.copied()
    verify(copy)
    assert str(copy) == str(graph)
    assert (copy.symbols, copy.provenance) == (graph.symbols, graph.provenance)
    assert copy.symbols is not graph.symbols
    assert copy.provenance is not graph.provenance
    assert all(a.data is b.data and a is not b for a, b in zip(graph.constants(), copy.constants(), strict=True))
    assert [values[node.output] for node in graph.nodes] == [node.output for node in copy.nodes]
    assert [values[value] for value in graph.inputs] == copy.inputs
    assert [(name, values[value]) for name, value in graph.outputs] == copy.outputs
    text = str(graph)
    with copy.before(copy.nodes[-1]):
        relu = copy.add(Relu(), copy.nodes[-2].output)
    copy.replace(copy.nodes[-1].output, copy.add(Neg(), copy.nodes[-1].output))
    copy.output("relu", relu)
    copy.symbols["N"] = (1, 2)
    assert str(graph) == text
    verify(graph)


def test_a_copy_of_nodes_with_several_outputs() -> None:
    graph = Graph("rows")
    node = graph.add_node(QuantizeRows(), graph.input("x", F))
    graph.output("scale", node.outputs[1])
    graph.output("x", graph.inputs[0])
    copy, values = graph.copied()
    verify(copy)
    assert str(copy) == str(graph)
    assert [values[value] for value in node.outputs] == list(copy.nodes[0].outputs)
