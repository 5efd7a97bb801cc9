import numpy as np
import pytest

from alula.ops.elementwise import Add, Div, Mul, Relu, Sub
from alula.ops.norm import BatchNorm, LayerNorm
from alula.passes.fold_scale_shift import FoldScaleShift
from tests.passes.graphs import Builder, N, changed, counts

STEPS = {
    "add": lambda b, x, c: b(Add(), x, c),
    "add to": lambda b, x, c: b(Add(), c, x),
    "sub": lambda b, x, c: b(Sub(), x, c),
    "sub from": lambda b, x, c: b(Sub(), c, x),
    "mul": lambda b, x, c: b(Mul(), x, c),
    "div": lambda b, x, c: b(Div(), x, c),
}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("shape", [(), (1, 1, 8), (8,)])
@pytest.mark.parametrize("bias", [True, False])
def test_around_a_linear_layer(step: str, shape: tuple[int, ...], bias: bool) -> None:
    b = Builder((N, 3, 8))
    before = STEPS[step](b, b.inputs[0], b.constant(*shape, low=0.5))
    graph = b.finish(STEPS[step](b, b.linear(before, 8, bias=bias), b.constant(*shape, low=0.5)))
    assert changed(graph, FoldScaleShift()) == 2
    assert counts(graph) == {"linear": 1}


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("groups", [1, 2])
def test_around_a_convolution(step: str, groups: int) -> None:
    b = Builder((N, 5, 6, 8))
    before = STEPS[step](b, b.inputs[0], b.constant(8, low=0.5))
    x = b.conv(before, 8, 3, groups=groups)
    graph = b.finish(STEPS[step](b, x, b.constant(1, 1, 1, 8, low=0.5)))
    assert changed(graph, FoldScaleShift()) == 2
    assert counts(graph) == {"conv2d": 1}


@pytest.mark.parametrize("step", STEPS)
def test_after_normalisations(step: str) -> None:
    b = Builder((N, 3, 8))
    layer = b(LayerNorm(1e-5), b.inputs[0], b.constant(8), b.constant(8))
    batch = b(BatchNorm(1e-5), b(Relu(), b.inputs[0]), *(b.constant(8, low=0.1) for _ in range(4)))
    graph = b.finish(*(STEPS[step](b, x, b.constant(8, low=0.5)) for x in (layer, batch)))
    assert changed(graph, FoldScaleShift()) == 2
    assert counts(graph) == {"batch_norm": 1, "layer_norm": 1, "relu": 1}


def test_before_a_padded_convolution_only_the_scale_goes() -> None:
    b = Builder((N, 5, 6, 8))
    graph = b.finish(
        b.conv(b(Mul(), b.inputs[0], b.constant(8)), 4, 3, pad=(1, 1, 1, 1)),
        b.conv(b(Add(), b.inputs[0], b.constant(8)), 4, 3, pad=(0, 0, 0, 1)),
    )
    assert changed(graph, FoldScaleShift()) == 1
    assert counts(graph) == {"add": 1, "conv2d": 2}


def test_what_is_no_number_per_channel_stays() -> None:
    b = Builder((N, 8, 8), (N, 1, 8))
    x = [b.linear(b.inputs[0], 8) for _ in range(6)]
    twice = b.linear(b.inputs[0], 8)
    graph = b.finish(
        b(Add(), x[0], b.constant(8, 8)),
        b(Mul(), x[1], b.constant(8, 1)),
        b(Div(), b.constant(8), x[2]),
        b(Div(), x[3], b.graph.constant(np.zeros(8, np.float32))),
        b(Add(), x[4], b.inputs[1]),
        b(Add(), x[5], b.constant(2, 1, 1, 1)),
        b(Mul(), twice, b.constant(8)),
        twice,
    )
    assert changed(graph, FoldScaleShift()) == 0


def test_a_weight_that_keeps_its_elements_is_not_copied() -> None:
    b = Builder((N, 8))
    x = b.linear(b.inputs[0], 8, bias=False)
    weight = x.producer.inputs[1]
    graph = b.finish(b(Add(), x, b.constant(8)))
    assert changed(graph, FoldScaleShift()) == 1
    assert graph.nodes[0].inputs[1] is weight
