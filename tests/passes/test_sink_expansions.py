import numpy as np

from alula.ops.elementwise import Add, Relu
from alula.ops.logic import Where
from alula.ops.shape import Expand
from alula.passes.pipeline import optimise
from alula.passes.sink_expansions import SinkExpansions
from tests.passes.graphs import Builder, N, changed, counts, run_both


def test_what_broadcasts_by_itself_is_not_repeated() -> None:
    b = Builder((N, 3, 4), (1, 4))
    graph = b.finish(b(Add(), b.inputs[0], b(Expand((N, 3, 4)), b.inputs[1])))
    assert changed(graph, SinkExpansions()) == 1
    assert counts(graph) == {"add": 1}


def test_an_op_of_constants_comes_before_the_repetition() -> None:
    b = Builder((1, 4))
    graph = b.finish(b(Relu(), b(Expand((3, 4)), b.inputs[0])), b(Add(), b(Expand((2, 4)), b.inputs[0]), b.number(1)))
    assert changed(graph, SinkExpansions()) == 2
    assert [node.op.name for node in graph.nodes][-1] == "expand"


def test_a_mask_that_hides_nothing_is_gone() -> None:
    """As PyTorch's exporter to ONNX writes it: where(expand(true), 0, -3e38), added to the scores."""
    b = Builder((N, 2, 5))
    holds = b(Expand((N, 1, 5)), b.graph.constant(np.ones((1, 1, 5), np.bool_)))
    mask = b(Where(), holds, b.number(0.0), b.number(-3e38))
    graph = b.finish(b(Relu(), b(Add(), b.inputs[0], mask)))
    run_both(graph, lambda: optimise(graph))
    assert counts(graph) == {"relu": 1}


def test_a_repetition_that_gives_the_result_its_shape_stays() -> None:
    b = Builder((1, 4), (4,))
    graph = b.finish(b(Add(), b(Expand((3, 4)), b.inputs[0]), b.inputs[1]))
    assert changed(graph, SinkExpansions()) == 0
