from alula.ops.shape import Reshape, Slice
from alula.passes.sink_slices import SinkSlices
from tests.passes.graphs import Builder, N, changed


def test_a_reshape_beside_the_sliced_axis_comes_first() -> None:
    b = Builder((N, 5, 6, 8))
    graph = b.finish(b(Reshape((N, 30, 3)), b(Slice(3, 1, 7, 2), b.inputs[0])))
    assert changed(graph, SinkSlices()) == 1
    assert [node.op for node in graph.nodes] == [Reshape((N, 30, 8)), Slice(2, 1, 7, 2)]


def test_a_reshape_of_the_sliced_axis_stays() -> None:
    b = Builder((N, 5, 8))
    x = b.inputs[0]
    graph = b.finish(
        b(Reshape((N, 5, 2, 2)), b(Slice(2, 4, 8), x)),
        b(Reshape((N, 8)), b(Slice(1, 0, 1), x)),
        b(Reshape((N, 20)), b(Slice(2, 0, 4), x)),
    )
    assert changed(graph, SinkSlices()) == 0
