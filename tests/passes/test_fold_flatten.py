from alula.ops.shape import Reshape, Transpose
from alula.passes.fold_flatten import FoldFlatten
from tests.passes.graphs import TO_NCHW, Builder, N, changed, counts


def test_the_order_of_a_flattened_feature_map_is_the_weights_affair() -> None:
    b = Builder((N, 3, 4, 8))
    flat = b(Reshape((N, 96)), b(Transpose(TO_NCHW), b.inputs[0]))
    graph = b.finish(b.linear(flat, 5))
    assert changed(graph, FoldFlatten()) == 1
    assert counts(graph) == {"linear": 1, "reshape": 1}


def test_three_factors_and_rows_before_them() -> None:
    b = Builder((N, 5, 2, 3, 4))
    flat = b(Reshape((N, 5, 24)), b(Transpose((0, 1, 4, 2, 3)), b.inputs[0]))
    graph = b.finish(b.linear(flat, 5))
    assert changed(graph, FoldFlatten()) == 1
    assert counts(graph) == {"linear": 1, "reshape": 1}


def test_a_transpose_that_moves_rows_stays() -> None:
    b = Builder((N, 3, 4, 8))
    graph = b.finish(
        b.linear(b(Transpose((0, 2, 1, 3)), b.inputs[0]), 5), b.linear(b(Transpose(TO_NCHW), b.inputs[0]), 5)
    )
    assert changed(graph, FoldFlatten()) == 0
