import pytest

from alula.ops.matmul import Linear
from alula.ops.shape import Concat, Slice
from alula.passes.fold_channel_order import FoldChannelOrder
from tests.passes.graphs import Builder, N, changed, counts


def channels(b: Builder, order: list[int], axis: int = 3) -> object:
    return b(Concat(axis), *(b(Slice(axis, place, place + 1), b.inputs[0]) for place in order))


@pytest.mark.parametrize("attributes", [{}, {"scale": (0.5, 2.0, 3.0), "shift": (1.0, -1.0, 0.25)}])
@pytest.mark.parametrize("order", [[2, 1, 0], [1, 2, 0]])
def test_the_weight_takes_the_channels_as_they_come(order: list[int], attributes: dict) -> None:
    b = Builder((N, 5, 6, 3))
    graph = b.finish(b.conv(channels(b, order), 4, 3, pad=(1, 1, 1, 1), **attributes))
    assert changed(graph, FoldChannelOrder()) == 1
    assert counts(graph) == {"conv2d": 1}


def test_linear() -> None:
    b = Builder((N, 5, 6, 3))
    graph = b.finish(b.linear(channels(b, [1, 2, 0]), 4))
    assert changed(graph, FoldChannelOrder()) == 1
    assert counts(graph) == {"linear": 1}


def test_other_concatenations_stay() -> None:
    b = Builder((N, 3, 3, 3), (N, 3, 3, 3))
    mixed = b(Concat(3), *(b(Slice(3, place, place + 1), b.inputs[place % 2]) for place in range(3)))
    graph = b.finish(
        b.linear(channels(b, [2, 1, 1]), 4),
        b.linear(channels(b, [2, 0, 1], axis=2), 4),
        b.linear(mixed, 4),
        b.conv(channels(b, [2, 1, 0]), 3, 3, groups=3),
        b(Linear(), channels(b, [2, 1]), b.constant(4, 2)),
    )
    assert changed(graph, FoldChannelOrder()) == 0
