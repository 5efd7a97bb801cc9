import numpy as np
import pytest

from alula.ir.graph import Graph
from alula.ops.gather import Gather
from alula.ops.shape import Pad
from alula.ops.unfold import Unfold
from alula.passes.fuse_unfold import FuseUnfold
from tests.passes.graphs import Builder, N, changed, counts


def gathered(
    stride: int = 2, dilation: int = 1, pad: int = 1, count: int = 4, value: float = 0.0, axes: tuple[int, int] = (2, 4)
) -> Graph:
    """Windows of 3 by 3 places of x[N,2,7,7], padded, as exporters to ONNX write them."""
    b = Builder((N, 2, 7, 7))
    around = (0, 0, pad, pad)
    padded = b(Pad(around, around, value), b.inputs[0]) if pad else b.inputs[0]
    places = b.graph.constant(np.arange(3)[:, None] * dilation + np.arange(count) * stride)
    return b.finish(b(Gather(axes[1]), b(Gather(axes[0]), padded, places), places))


def test_windows_with_padding() -> None:
    graph = gathered()
    assert changed(graph, FuseUnfold()) == 1
    (unfold,) = (node.op for node in graph.nodes if isinstance(node.op, Unfold))
    assert unfold == Unfold(kernel=(3, 3), stride=(2, 2), pad=(1, 1, 1, 1))
    assert counts(graph) == {"reshape": 1, "transpose": 2, "unfold": 1}


@pytest.mark.parametrize(
    ("case", "pads"),
    [
        ({"pad": 0, "count": 3}, 0),
        ({"dilation": 2, "count": 3}, 0),
        ({"value": 1.0}, 1),  # of something other than zeros: the padding stays
        ({"pad": 3, "count": 6}, 1),  # wider than a window
    ],
)
def test_other_windows(case: dict, pads: int) -> None:
    graph = gathered(**case)
    assert changed(graph, FuseUnfold()) == 1
    assert counts(graph).get("pad", 0) == pads


@pytest.mark.parametrize("case", [{"count": 3}, {"axes": (3, 4)}, {"stride": 0}])
def test_what_counts_no_windows_is_refused(case: dict) -> None:
    assert changed(gathered(**case), FuseUnfold()) == 0
