import pytest

from alula.ops.attention import Attention
from alula.ops.elementwise import Relu
from alula.passes.merge_projections import MergeProjections
from tests.passes.graphs import Builder, N, changed, counts


@pytest.mark.parametrize("bias", [(False, False, False), (True, True, True), (True, False, True)])
def test_q_k_and_v_of_one_tensor(bias: tuple[bool, ...]) -> None:
    b = Builder((N, 5, 8))
    q, k, v = (b.linear(b.inputs[0], n, bias=has) for n, has in zip((6, 6, 4), bias, strict=True))
    graph = b.finish(b(Attention(2, 0.5), q, k, v))
    assert changed(graph, MergeProjections()) == 1
    assert counts(graph) == {"attention": 1, "linear": 1, "slice": 3}


def test_only_k_and_v_of_one_tensor() -> None:
    b = Builder((N, 5, 8), (N, 7, 8))
    graph = b.finish(b(Attention(2, 0.5), *(b.linear(b.inputs[i], 6) for i in (0, 1, 1))))
    assert changed(graph, MergeProjections()) == 1
    assert counts(graph) == {"attention": 1, "linear": 2, "slice": 2}


def test_layers_that_others_take_or_of_other_tensors_stay() -> None:
    b = Builder((N, 5, 8), (N, 5, 8), (N, 5, 8))
    q, k, v = (b.linear(x, 6) for x in b.inputs)
    shared = b.linear(b.inputs[0], 6)
    graph = b.finish(b(Attention(2, 0.5), q, k, v), b(Attention(2, 0.5), shared, shared, shared), b(Relu(), shared))
    assert changed(graph, MergeProjections()) == 0
