from alula.ops.shape import Concat, Slice
from alula.passes.simplify_slices import SimplifySlices
from tests.passes.graphs import Builder, N, changed


def test_a_slice_of_a_slice() -> None:
    b = Builder((N, 20))
    graph = b.finish(b(Slice(1, 1, 5, 2), b(Slice(1, 2, 20, 3), b.inputs[0])))
    assert changed(graph, SimplifySlices()) == 1
    assert [node.op for node in graph.nodes] == [Slice(1, 5, 15, 6)]


def test_a_slice_of_one_operand_of_a_concatenation() -> None:
    b = Builder((N, 1, 4), (N, 6, 4))
    both = b(Concat(1), *b.inputs)
    graph = b.finish(b(Slice(1, 0, 1), both), b(Slice(1, 2, 7, 2), both))
    assert changed(graph, SimplifySlices()) == 2
    assert [node.op for node in graph.nodes] == [Slice(1, 0, 1), Slice(1, 1, 6, 2)]


def test_across_operands_along_other_axes_and_of_named_sizes_it_stays() -> None:
    b = Builder((N, 2, 4), (N, 6, 4))
    rows, batches = b(Concat(1), *b.inputs), b(Concat(0), b.inputs[0], b.inputs[0])
    graph = b.finish(
        b(Slice(1, 1, 3), rows),
        b(Slice(2, 0, 2), rows),
        b(Slice(0, 0, 1), batches),
        b(Slice(1, 0, 1), b(Slice(2, 1, 3), b.inputs[0])),
        b(Slice(1, 1, 1), b(Slice(1, 0, 2), b.inputs[0])),
    )
    assert changed(graph, SimplifySlices()) == 0
