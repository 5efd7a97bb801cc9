import pytest

from alula.passes.separate_depthwise import SeparateDepthwise
from tests.passes.graphs import Builder, N, changed, counts


@pytest.mark.parametrize("bias", [True, False])
def test_a_kernel_for_each_channel(bias: bool) -> None:
    b = Builder((N, 9, 6, 8))
    attributes = {"stride": (2, 1), "pad": (1, 0, 2, 1), "dilation": (1, 2)}
    graph = b.finish(b.conv(b.inputs[0], 8, 3, bias=bias, groups=8, **attributes))
    assert changed(graph, SeparateDepthwise()) == 1
    assert counts(graph) == {"depthwise_conv2d": 1}


@pytest.mark.parametrize(
    "attributes",
    [
        {"groups": 4},
        {"groups": 8, "features": 16},
        {"groups": 8, "scale": (1.0,) * 8, "shift": (0.0,) * 8},
    ],
)
def test_others_stay(attributes: dict) -> None:
    b = Builder((N, 5, 6, 8))
    features = attributes.pop("features", 8)
    graph = b.finish(b.conv(b.inputs[0], features, 3, **attributes))
    assert changed(graph, SeparateDepthwise()) == 0


def test_one_channel_stays() -> None:
    b = Builder((N, 5, 6, 1))
    assert changed(b.finish(b.conv(b.inputs[0], 1, 3)), SeparateDepthwise()) == 0
