from alula.ops.elementwise import Relu
from alula.ops.shape import Reshape, Transpose
from alula.passes.canonical_views import CanonicalViews
from tests.passes.graphs import TO_NCHW, TO_NHWC, Builder, N, changed, counts


def test_opposite_transposes_cancel() -> None:
    b = Builder((N, 5, 6, 8))
    x = b(Transpose(TO_NHWC), b(Transpose(TO_NCHW), b(Relu(), b.inputs[0])))
    graph = b.finish(b(Relu(), x))
    changed(graph, CanonicalViews())
    assert counts(graph) == {"relu": 2}


def test_flatten_and_transpose_of_a_channels_last_tensor_is_a_reshape() -> None:
    b = Builder((N, 5, 6, 8))
    flat = b(Reshape((N, 8, 30)), b(Transpose(TO_NCHW), b.inputs[0]))
    graph = b.finish(b(Transpose((0, 2, 1)), flat))
    changed(graph, CanonicalViews())
    assert counts(graph) == {"reshape": 1}


def test_a_long_chain_is_at_most_three_nodes(golden: object) -> None:
    b = Builder((N, 6, 4))
    x = b(Transpose((0, 2, 1, 3)), b(Reshape((N, 2, 3, 4)), b.inputs[0]))
    x = b(Transpose((2, 0, 1)), b(Reshape((N, 3, 8)), x))
    graph = b.finish(b(Reshape((4, 2, N, 3)), b(Reshape((8, N * 3)), x)))
    changed(graph, CanonicalViews())
    assert str(graph) == golden


def test_a_transpose_that_others_take_stays_and_is_not_made_twice() -> None:
    b = Builder((N, 5, 6, 8))
    turned = b(Transpose(TO_NCHW), b.inputs[0])
    graph = b.finish(turned, b(Transpose((0, 1, 3, 2)), turned), b(Transpose(TO_NHWC), turned))
    assert changed(graph, CanonicalViews()) == 1
    assert counts(graph) == {"transpose": 2}


def test_a_reshape_that_cuts_through_factors_ends_the_chain() -> None:
    b = Builder((6, 4))
    turned = b(Transpose((1, 0)), b(Reshape((3, 8)), b(Transpose((1, 0)), b.inputs[0])))
    graph = b.finish(turned)
    assert changed(graph, CanonicalViews()) == 0


def test_tensors_without_elements() -> None:
    b = Builder((N, 0, 4))
    graph = b.finish(b(Reshape((4, 0, N)), b(Transpose((2, 1, 0)), b.inputs[0])))
    changed(graph, CanonicalViews())
