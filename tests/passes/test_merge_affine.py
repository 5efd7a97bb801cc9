"""Scaling and shifting by constants between ops that cannot take them in."""

import numpy as np
import pytest

from alula.ops.elementwise import Add, Div, Mul, Relu, Sub
from alula.ops.norm import BatchNorm
from alula.passes.merge_affine import MergeAffine
from tests.passes.graphs import Builder, N, changed, counts


def statistics(b: Builder, count: int = 8) -> list:
    return [b.constant(count, low=0.1) for _ in range(4)]


def test_a_batch_norm_alone_is_a_product_and_a_sum() -> None:
    b = Builder((N, 3, 8))
    graph = b.finish(b(Relu(), b(BatchNorm(1e-3), b.inputs[0], *statistics(b))))
    assert changed(graph, MergeAffine()) == 1
    assert counts(graph) == {"add": 1, "mul": 1, "relu": 1}


@pytest.mark.parametrize("shape", [(), (1, 1, 8), (8,)])
def test_long_chains_become_one_product_and_one_sum(shape: tuple[int, ...]) -> None:
    b = Builder((N, 3, 8))
    x = b(Sub(), b.constant(*shape, low=0.5), b(BatchNorm(1e-3), b.inputs[0], *statistics(b)))
    x = b(Div(), b(Mul(), b(Add(), x, b.constant(8)), b.constant(*shape)), b.constant(*shape, low=0.5))
    graph = b.finish(b(Sub(), x, b.constant(8)))
    assert changed(graph, MergeAffine()) >= 1
    assert counts(graph) == {"add": 1, "mul": 1}


def test_products_alone_and_sums_alone_need_one_step() -> None:
    b = Builder((N, 3, 8))
    product = b(Mul(), b(Mul(), b.inputs[0], b.constant(8)), b.constant(8))
    total = b(Add(), b(Add(), b.inputs[0], b.constant(8)), b.constant(8))
    graph = b.finish(product, total)
    assert changed(graph, MergeAffine()) == 2
    assert counts(graph) == {"add": 1, "mul": 1}


def test_one_number_for_all_channels_stays_one() -> None:
    b = Builder((N, 3, 8))
    graph = b.finish(b(Mul(), b(Mul(), b.inputs[0], b.constant()), b.constant()))
    assert changed(graph, MergeAffine()) == 1
    assert [value.type.shape for value in graph.nodes[0].inputs[1:]] == [()]


def test_what_others_take_and_what_is_short_already_stays() -> None:
    b = Builder((N, 3, 8), (N, 3, 8))
    shared = b(Mul(), b.inputs[0], b.constant(8))
    graph = b.finish(
        b(Mul(), shared, b.constant(8)),
        b(Relu(), shared),
        b(Add(), b(Mul(), b.inputs[1], b.constant(8)), b.constant(8)),
        b(Mul(), b(Add(), b.inputs[1], b.constant(8)), b.constant(8)),
        b(Add(), b(Mul(), b.inputs[1], b.inputs[0]), b.constant(8)),
    )
    assert changed(graph, MergeAffine()) == 0


def test_constants_are_merged_in_float64() -> None:
    b = Builder((N, 3, 2))
    third, three = np.float32(1) / np.float32(3), np.float32(3)
    x = b(Mul(), b.inputs[0], b.graph.constant(np.array([third, third])))
    graph = b.finish(b(Mul(), x, b.graph.constant(np.array([three, three]))))
    MergeAffine().run(graph)
    assert graph.nodes[0].inputs[1].data.tolist() == np.float32(float(third) * 3)
