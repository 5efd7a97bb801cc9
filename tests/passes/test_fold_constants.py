import numpy as np

from alula.core.dtype import DType
from alula.ops.elementwise import Add, Cast, Mul, Relu
from alula.ops.shape import Expand, Reshape, Slice, Transpose
from alula.passes.fold_constants import FoldConstants
from tests.passes.graphs import Builder, N, changed, counts


def test_a_tree_of_constants_becomes_one() -> None:
    b = Builder((N, 4))
    shift = b(Mul(), b(Add(), b.constant(4), b.constant(4)), b.number(0.5))
    graph = b.finish(b(Add(), b.inputs[0], shift))
    assert changed(graph, FoldConstants()) == 2
    assert counts(graph) == {"add": 1}


def test_a_transposed_weight_is_stored_in_row_major_order() -> None:
    b = Builder((N, 6, 4))
    graph = b.finish(b(Add(), b.inputs[0], b(Transpose((1, 0)), b.constant(4, 6))))
    assert changed(graph, FoldConstants()) == 1
    assert graph.constants()[0].data.flags.c_contiguous


def test_rank_0_and_casts_keep_their_types() -> None:
    b = Builder((N, 4))
    half = b(Cast(DType.F32), b(Cast(DType.BF16), b(Reshape(()), b.constant(1))))
    graph = b.finish(b(Mul(), b.inputs[0], half))
    assert changed(graph, FoldConstants()) == 3
    assert str(graph.constants()[0].type) == "f32[]"


def test_a_reshaped_constant_is_not_copied() -> None:
    b = Builder((N, 4, 6))
    constant = b.constant(24)
    graph = b.finish(b(Add(), b.inputs[0], b(Reshape((4, 6)), constant)))
    changed(graph, FoldConstants())
    assert np.shares_memory(graph.constants()[0].data, constant.data)


def test_expansions_stay() -> None:
    b = Builder((N, 4096))
    large = b(Expand((3, 4096)), b.constant(1, 4096))
    symbolic = b(Expand((N, 4096)), b.constant(1, 4096))
    graph = b.finish(b(Relu(), large), b(Add(), symbolic, b.inputs[0]))
    assert changed(graph, FoldConstants()) == 0


def test_a_named_size_in_an_attribute_stays() -> None:
    b = Builder((N, 4))
    graph = b.finish(b(Slice(0, 0, N + (N * -1) + 2), b.constant(3)), b.inputs[0])
    assert changed(graph, FoldConstants()) == 1  # N - N + 2 is 2: no name is left
    b = Builder((N, 4))
    graph = b.finish(b(Add(), b.inputs[0], b(Expand((N, 4)), b.constant(4))))
    assert changed(graph, FoldConstants()) == 0
