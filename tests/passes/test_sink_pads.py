import pytest

from alula.ops.quantize import Dequantize, Quantize
from alula.ops.shape import Pad
from alula.passes.sink_pads import SinkPads
from tests.passes.graphs import Builder, N, changed

SIDES = (0, 0, 1, 0), (0, 2, 1, 0)


def test_zeros_are_added_after_rounding() -> None:
    b = Builder((N, 5, 6, 4))
    graph = b.finish(b(Dequantize(0.1, 9), b(Quantize(0.1, 9), b(Pad(*SIDES), b.inputs[0]))))
    assert changed(graph, SinkPads()) == 1
    assert [node.op.name for node in graph.nodes] == ["quantize", "dequantize", "pad"]


@pytest.mark.parametrize(("value", "zero"), [(0.5, 9), (0.0, 8)])
def test_others_stay(value: float, zero: int) -> None:
    b = Builder((N, 5, 6, 4))
    graph = b.finish(b(Dequantize(0.1, zero), b(Quantize(0.1, 9), b(Pad(*SIDES, value=value), b.inputs[0]))))
    assert changed(graph, SinkPads()) == 0
