import pytest

from alula.passes.conv_to_linear import ConvToLinear
from tests.passes.graphs import Builder, N, changed, counts


@pytest.mark.parametrize("bias", [True, False])
def test_a_convolution_of_one_pixel(bias: bool) -> None:
    b = Builder((N, 5, 6, 8))
    graph = b.finish(b.conv(b.inputs[0], 4, 1, bias=bias))
    assert changed(graph, ConvToLinear()) == 1
    assert counts(graph) == {"linear": 1}


def test_strides_take_some_pixels() -> None:
    b = Builder((N, 5, 6, 8))
    graph = b.finish(b.conv(b.inputs[0], 4, 1, stride=(2, 3)), b.conv(b.inputs[0], 4, 1, stride=(1, 2)))
    assert changed(graph, ConvToLinear()) == 2
    assert counts(graph) == {"linear": 2, "slice": 3}


@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel": 3},
        {"groups": 2},
        {"scale": (1.0,) * 8, "shift": (0.0,) * 8},
    ],
)
def test_others_stay(attributes: dict) -> None:
    b = Builder((N, 5, 6, 8))
    graph = b.finish(b.conv(b.inputs[0], 4, **{"kernel": 1, **attributes}))
    assert changed(graph, ConvToLinear()) == 0
