from alula.ops.shape import Concat, Reshape, Slice, Transpose
from alula.passes.hoist_shuffles import HoistShuffles
from alula.passes.pipeline import optimise
from tests.passes.graphs import TO_NCHW, TO_NHWC, Builder, N, changed


def shuffle(b, x, groups):
    """ShuffleNet's, channels first."""
    n, c, h, w = x.type.shape
    apart = b(Transpose((0, 2, 1, 3, 4)), b(Reshape((n, groups, c // groups, h, w)), x))
    return b(Reshape((n, c, h, w)), apart)


def test_halves_of_shuffled_channels() -> None:
    b = Builder((N, 5, 6, 12))
    mixed = shuffle(b, b(Transpose(TO_NCHW), b.inputs[0]), 3)
    graph = b.finish(*(b(Slice(1, *ends), mixed) for ends in ((0, 4), (4, 12, 2))))
    assert changed(graph, HoistShuffles()) == 2
    slices = [node for node in graph.nodes if isinstance(node.op, Slice)]
    assert [node.op for node in slices] == [Slice(3, 0, 4), Slice(3, 4, 12, 2)]
    assert [user.op for node in slices for user in node.output.uses] == [Transpose(TO_NCHW)] * 2
    assert changed(graph, HoistShuffles()) == 0


def test_a_unit_stays_channels_last() -> None:
    """Split, a convolution of one half, concatenation and shuffle, twice: what is turned are the shuffles alone."""
    b = Builder((N, 5, 6, 8))
    x = b(Transpose(TO_NCHW), b.conv(b.inputs[0], 8, 1))
    for _ in range(2):
        left, right = b(Slice(1, 0, 4), x), b(Slice(1, 4, 8), x)
        right = b(Transpose(TO_NCHW), b.conv(b(Transpose(TO_NHWC), right), 4, 3, pad=(1, 1, 1, 1)))
        x = shuffle(b, b(Concat(1), left, right), 2)
    graph = b.finish(b.conv(b(Transpose(TO_NHWC), b(Slice(1, 2, 8), x)), 3, 1))
    optimise(graph)
    turned = [node.op.perm for node in graph.nodes if isinstance(node.op, Transpose)]
    assert turned == [(0, 2, 1)] * 2
    assert {node.op.axis for node in graph.nodes if isinstance(node.op, Slice | Concat)} == {3}


def test_others_stay() -> None:
    b = Builder((N, 5, 6, 12))
    last = b(Reshape((N, 5, 6, 12)), b(Transpose((0, 1, 2, 4, 3)), b(Reshape((N, 5, 6, 3, 4)), b.inputs[0])))
    part = b(Transpose((0, 3, 1, 2, 4)), b(Reshape((N, 5, 6, 4, 3)), b.inputs[0]))
    graph = b.finish(
        b(Slice(3, 0, 4), last), b(Slice(1, 0, 2), part), b(Slice(1, 0, 4), b(Transpose(TO_NCHW), b.inputs[0]))
    )
    assert changed(graph, HoistShuffles()) == 0
