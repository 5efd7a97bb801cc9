"""Graphs for the tests of the IR: one to read, and hypothesis strategies of all."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from alula.core.dims import symbol
from alula.core.dtype import Array, DType
from alula.ir.graph import Graph
from alula.ir.op import OPS
from alula.ir.parser import parse_graph
from alula.ir.types import TensorType
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Add, Gelu
from alula.ops.matmul import Linear
from alula.ops.pool import MaxPool2d
from alula.ops.reduce import ReduceMean
from tests.ops.cases import CASES, fill

N = symbol("N")


def small_network() -> Graph:
    """Convolution, pooling, mean, linear layer: symbolic batch, constants, origins."""
    graph = Graph("small", {"N": (1, 512)})
    x = graph.input("image", TensorType(DType.F32, (N, 9, 9, 3)))
    kernel = graph.constant(np.zeros((8, 3, 3, 3), np.float32), "stem.weight")
    weight = graph.constant(np.zeros((10, 8), np.float32), "head.weight")
    y = graph.add(Conv2d(stride=(2, 2), pad=(1, 1, 1, 1)), x, kernel, origin="stem model.py:12")
    y = graph.add(MaxPool2d(kernel=(2, 2), stride=(1, 1)), graph.add(Gelu("tanh"), y))
    y = graph.add(ReduceMean((1, 2)), graph.add(Add(), y, y))
    graph.output("logits", graph.add(Linear(), y, weight, origin="head model.py:30"))
    return graph


@st.composite
def graphs(draw: Any) -> Graph:
    """Nodes of any op over inputs, constants and each other's results; any names and origins; one size N."""
    graph = Graph(draw(st.text(max_size=6)), {"N": (1, draw(st.integers(1, 8)))})
    values = [graph.input("batch", TensorType(DType.F32, (N,)))]
    for name in draw(st.lists(st.sampled_from(sorted(OPS)), max_size=5)):
        op, types = draw(CASES[name])
        operands = [_operand(draw, graph, values, type) for type in types]
        values += graph.add_node(op, *operands, origin=draw(st.text(max_size=8))).outputs
    for value in draw(st.lists(st.sampled_from(values), max_size=3)):
        graph.output(draw(st.text(max_size=6)), value)
    return graph


def _operand(draw: Any, graph: Graph, values: list[Any], type: TensorType) -> Any:
    if (fitting := [value for value in values if value.type == type]) and draw(st.booleans()):
        return draw(st.sampled_from(fitting))
    if not type.symbols() and draw(st.booleans()):
        return graph.constant(fill(type, {}), draw(st.text(max_size=6)))
    values.append(graph.input(draw(st.text(max_size=6)), type))
    return values[-1]


def elements(graph: Graph) -> Any:
    """The constants of `graph`, as `parse_graph` asks for them."""
    arrays = [value.data for value in graph.constants()]
    return lambda index, name, type: arrays[index]


def zeros(index: int, name: str, type: TensorType) -> Array:
    """Constants for texts whose elements do not matter."""
    return np.zeros(type.at({}), type.dtype.numpy)


def parse(text: str) -> Graph:
    return parse_graph(text, zeros)


def description(graph: Graph) -> Any:
    """All that a graph is, in things that compare by value; constants by identity of their elements."""
    number = {value: i for i, value in enumerate([*graph.inputs, *graph.constants()])}
    for node in graph.nodes:
        for value in node.outputs:
            number[value] = len(number)
    return (
        graph.name,
        graph.symbols,
        [(value.name, value.type) for value in graph.inputs],
        [(value.name, value.type, id(value.data)) for value in graph.constants()],
        [
            (node.op, node.origin, [number[v] for v in node.inputs], [(number[v], v.type) for v in node.outputs])
            for node in graph.nodes
        ],
        [(name, number[value]) for name, value in graph.outputs],
    )
