from alula.ops.shape import Reshape, Slice, Transpose
from alula.passes.hoist_slices import HoistSlices
from tests.passes.graphs import TO_NCHW, Builder, N, changed, counts


def test_a_part_of_qkv_is_a_range_of_columns(golden: object) -> None:
    b = Builder((N, 5, 24))
    parts = b(Transpose((2, 0, 3, 1, 4)), b(Reshape((N, 5, 3, 2, 4)), b.inputs[0]))
    graph = b.finish(*(b(Reshape((N, 2, 5, 4)), b(Slice(0, i, i + 1), parts)) for i in range(3)))
    assert changed(graph, HoistSlices()) == 3
    assert str(graph) == golden


def test_a_range_of_a_transposed_axis_with_any_step() -> None:
    b = Builder((N, 5, 6, 8))
    graph = b.finish(b(Slice(1, 1, 8, 3), b(Transpose(TO_NCHW), b.inputs[0])))
    assert changed(graph, HoistSlices()) == 1
    assert [node.op.name for node in graph.nodes] == ["slice", "transpose"]
    assert graph.nodes[0].op == Slice(3, 1, 8, 3)


def test_an_inner_factor_is_no_range() -> None:
    b = Builder((N, 24))
    parts = b(Reshape((N, 4, 3, 2)), b.inputs[0])
    graph = b.finish(b(Slice(2, 1, 2), parts), b(Slice(1, 0, 4, 2), parts))
    assert changed(graph, HoistSlices()) == 0


def test_a_reshape_beside_the_sliced_axis_stays() -> None:
    b = Builder((N, 5, 6, 8))
    graph = b.finish(b(Slice(2, 0, 4), b(Reshape((N, 30, 8)), b.inputs[0])))
    assert changed(graph, HoistSlices()) == 0


def test_empty_slices_stay() -> None:
    b = Builder((N, 5, 6, 8))
    graph = b.finish(b(Slice(1, 2, 2), b(Transpose(TO_NCHW), b.inputs[0])))
    assert changed(graph, HoistSlices()) == 0


def test_the_outer_factor_of_a_split_axis() -> None:
    b = Builder((N, 24, 2))
    turned = b(Transpose((0, 3, 1, 2)), b(Reshape((N, 3, 8, 2)), b.inputs[0]))
    graph = b.finish(b(Slice(2, 1, 3), turned))
    assert changed(graph, HoistSlices()) == 1
    assert graph.nodes[0].op == Slice(1, 8, 24)
    assert counts(graph) == {"reshape": 1, "slice": 1, "transpose": 1}
