from alula.ops.elementwise import Abs, Neg, Relu
from alula.passes.remove_dead_code import RemoveDeadCode
from tests.passes.graphs import Builder, N, changed, counts


def test_what_no_output_needs_goes_with_all_that_only_it_needed() -> None:
    b = Builder((N, 4))
    kept = b(Relu(), b.inputs[0])
    b(Neg(), b(Abs(), b(Neg(), kept)))
    graph = b.finish(kept)
    assert changed(graph, RemoveDeadCode()) == 3
    assert counts(graph) == {"relu": 1}


def test_inputs_stay() -> None:
    b = Builder((N, 4), (N, 2))
    graph = b.finish(b(Relu(), b.inputs[1]))
    assert changed(graph, RemoveDeadCode()) == 0
    assert len(graph.inputs) == 2
