import pytest

from alula.ops.shape import Pad, Transpose
from alula.passes.fold_pad import FoldPad
from tests.passes.graphs import TO_NHWC, Builder, N, changed, counts

SIDES = (0, 0, 1, 0), (0, 2, 1, 0)  # of rows 0 and 2, of columns 1 and 1


@pytest.mark.parametrize("attributes", [{}, {"stride": (2, 2), "pad": (1, 0, 0, 0)}, {"groups": 4}])
def test_rows_and_columns_of_zeros(attributes: dict) -> None:
    b = Builder((N, 5, 6, 4))
    graph = b.finish(b.conv(b(Pad(*SIDES), b.inputs[0]), 8, 3, **attributes))
    assert changed(graph, FoldPad()) == 1
    assert counts(graph) == {"conv2d": 1}


def test_before_a_transpose() -> None:
    b = Builder((N, 4, 5, 6))
    padded = b(Pad((0, 0, 0, 1), (0, 0, 2, 1)), b.inputs[0])
    graph = b.finish(b.conv(b(Transpose(TO_NHWC), padded), 8, 3))
    assert changed(graph, FoldPad()) == 1
    assert counts(graph) == {"conv2d": 1, "transpose": 1}
    assert graph.nodes[-1].op.pad == (0, 1, 2, 1)


@pytest.mark.parametrize(
    ("pad", "attributes"),
    [
        (Pad(*SIDES, value=1.0), {}),
        (Pad((0, 0, 0, 1), (0, 0, 0, 3)), {}),  # channels
        (Pad((1, 0, 0, 0), (0, 0, 0, 0)), {}),  # pictures
        (Pad((0, 3, 0, 0), (0, 0, 0, 0)), {}),  # a window would lie in zeros alone
        (Pad((0, 2, 0, 0), (0, 0, 0, 0)), {"pad": (1, 0, 0, 0)}),
        (Pad(*SIDES), {"scale": (2.0,) * 4, "shift": (1.0,) * 4}),
    ],
)
def test_others_stay(pad: Pad, attributes: dict) -> None:
    b = Builder((N, 5, 6, 4))
    value = b(pad, b.inputs[0])
    graph = b.finish(b.conv(value, 8, 3, **attributes))
    assert changed(graph, FoldPad()) == 0
