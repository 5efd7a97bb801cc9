"""Each invariant, broken by hand behind the graph's back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.core.errors import GraphError
from alula.ir.graph import Graph, Node, Value
from alula.ir.op import Op
from alula.ir.types import TensorType
from alula.ir.verifier import verify
from alula.ops.elementwise import Gelu, Relu
from alula.ops.shape import Reshape
from tests.ir.graphs import N, small_network


@dataclass(frozen=True, slots=True)
class Unregistered(Op):
    name: ClassVar[str] = "relu"

    def infer(self, x: TensorType) -> TensorType:
        return x


def swap_nodes(graph: Graph) -> None:
    graph.nodes[0], graph.nodes[1] = graph.nodes[1], graph.nodes[0]


def drop_a_node(graph: Graph) -> None:
    del graph.nodes[1]


def list_a_node_twice(graph: Graph) -> None:
    graph.nodes.insert(1, graph.nodes[0])


def change_a_type(graph: Graph) -> None:
    graph.nodes[0].output.type = TensorType(DType.F32, (N, 5, 5, 9))


def change_an_op(graph: Graph) -> None:
    graph.nodes[0].op = Relu()


def change_an_attribute(graph: Graph) -> None:
    graph.nodes[1].op = Gelu("other")


def take_an_unknown_op(graph: Graph) -> None:
    graph.nodes[1].op = Unregistered()


def take_a_foreign_value(graph: Graph) -> None:
    foreign = Value(graph.inputs[0].type, name="foreign")
    graph.nodes[0].inputs = (foreign, *graph.nodes[0].inputs[1:])


def forget_a_use(graph: Graph) -> None:
    graph.inputs[0].uses.clear()


def record_a_use_too_many(graph: Graph) -> None:
    graph.nodes[0].output.uses.append(graph.nodes[1])


def record_another_user(graph: Graph) -> None:
    graph.inputs[0].uses[0] = graph.nodes[2]


def forget_a_constants_use(graph: Graph) -> None:
    graph.constants()[0].uses.clear()


def change_a_constant(graph: Graph) -> None:
    graph.constants()[0].data = np.zeros((8, 3, 3, 4), np.float32)


def claim_anothers_output(graph: Graph) -> None:
    graph.nodes[1].output.producer = graph.nodes[0]


def give_an_input_a_producer(graph: Graph) -> None:
    graph.inputs[0].producer = graph.nodes[0]


def give_an_input_elements(graph: Graph) -> None:
    graph.inputs[0].data = np.zeros(1, np.float32)


def return_a_foreign_value(graph: Graph) -> None:
    graph.outputs.append(("foreign", Value(TensorType(DType.F32, ()))))


def return_a_changed_constant(graph: Graph) -> None:
    graph.outputs.append(("c", Value(TensorType(DType.F32, (3,)), data=np.zeros(2, np.float32), name="c")))


def forget_a_size(graph: Graph) -> None:
    graph.symbols.clear()


def turn_a_range_around(graph: Graph) -> None:
    graph.symbols["N"] = (5, 4)


def let_a_size_be_0(graph: Graph) -> None:
    graph.symbols["N"] = (0, 4)


def name_a_size_strangely(graph: Graph) -> None:
    graph.symbols["a b"] = (1, 4)


def let_a_tensor_be_too_large(graph: Graph) -> None:
    graph.symbols["N"] = (1, 1 << 40)


BROKEN: list[tuple[Callable[[Graph], None], str]] = [
    (swap_nodes, "gelu node 0: expected operands defined before it, got one that is not"),
    (drop_a_node, "max_pool2d node 1: expected operands defined before it, got one that is not"),
    (list_a_node_twice, "conv2d node 1 (stem model.py:12): expected outputs of its own"),
    (change_a_type, "conv2d node 0 (stem model.py:12): expected f32[N,5,5,8], got f32[N,5,5,9]"),
    (change_an_op, "relu node 0 (stem model.py:12): expected 1 operands, got 2"),
    (change_an_attribute, "gelu node 1: expected approximate of none or tanh, got 'other'"),
    (take_an_unknown_op, "relu node 1: expected a registered op, got Unregistered"),
    (
        take_a_foreign_value,
        "conv2d node 0 (stem model.py:12): expected operands defined before it, got one that is not",
    ),
    (forget_a_use, "value f32[N,9,9,3]: expected 1 uses, got 0"),
    (record_a_use_too_many, "value f32[N,5,5,8]: expected 1 uses, got 2"),
    (record_another_user, "value f32[N,9,9,3]: expected 1 uses, got 1"),
    (forget_a_constants_use, "value f32[8,3,3,3]: expected 1 uses, got 0"),
    (change_a_constant, "constant stem.weight: expected f32[8,3,3,4], got f32[8,3,3,3]"),
    (claim_anothers_output, "gelu node 1: expected outputs of its own"),
    (give_an_input_a_producer, "input image: expected neither elements nor a producer"),
    (give_an_input_elements, "input image: expected neither elements nor a producer"),
    (return_a_foreign_value, "output foreign: expected a value of the graph"),
    (return_a_changed_constant, "constant c: expected f32[2], got f32[3]"),
    (forget_a_size, "input image: expected sizes that an input has as a dimension [], got ['N']"),
    (turn_a_range_around, "size N: expected 1 <= low <= high <= 1099511627776, got 5..4"),
    (let_a_size_be_0, "size N: expected 1 <= low <= high <= 1099511627776, got 0..4"),
    (name_a_size_strangely, "size 'a b': expected an identifier that is no dtype"),
    (let_a_tensor_be_too_large, "input image: expected at most 70368744177664 bytes, got f32[N,9,9,3]"),
]


def test_whole_graphs_pass() -> None:
    verify(small_network())
    verify(Graph())


@pytest.mark.parametrize(("damage", "message"), BROKEN, ids=lambda item: getattr(item, "__name__", ""))
def test_broken_invariants(damage: Callable[[Graph], None], message: str) -> None:
    graph = small_network()
    damage(graph)
    with pytest.raises(GraphError) as caught:
        verify(graph)
    assert str(caught.value) == message


def test_sizes_that_may_turn_negative() -> None:
    graph = Graph("g", {"H": (2, 8), "N": (1, 8)})
    H = symbol("H")
    for shape in [(H, H - 2), (H, (H - 1) // 2), (H, N, H * N - 2)]:
        graph.inputs = [Value(TensorType(DType.F32, shape))]
        verify(graph)
    for shape in [(H, H - 3), (H, 7 - H), (H, N, H - N)]:
        graph.inputs = [Value(TensorType(DType.F32, shape))]
        with pytest.raises(GraphError, match="certainly >= 0"):
            verify(graph)


def test_a_size_that_only_an_attribute_names() -> None:
    graph = Graph("g", {"M": (1, 4)})
    graph.input("x", TensorType(DType.F32, (0,)))
    graph.add(Reshape((0, symbol("M"))), graph.inputs[0])
    with pytest.raises(GraphError, match=r"reshape node 0: expected sizes .* \[\], got \['M'\]"):
        verify(graph)


def test_a_node_that_reads_itself() -> None:
    graph = Graph("g")
    value = Value(TensorType(DType.F32, (2,)))
    node = Node(Relu(), (value,), (value,))
    value.producer, value.uses = node, [node]
    graph.nodes.append(node)
    with pytest.raises(GraphError, match="expected operands defined before it"):
        verify(graph)
