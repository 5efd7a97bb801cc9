from alula.core.dtype import DType
from alula.ops.quantize import Dequantize, Quantize
from alula.passes.remove_requantisation import RemoveRequantisation
from tests.passes.graphs import Builder, N, changed, counts


def test_bytes_stay_bytes() -> None:
    b = Builder((N, 256), dtype=DType.U8)
    graph = b.finish(b(Quantize(0.3, 7), b(Dequantize(0.3, 7), b.inputs[0])))
    assert changed(graph, RemoveRequantisation()) == 1
    assert counts(graph) == {}


def test_other_levels_are_rounded_to() -> None:
    b = Builder((N, 256), dtype=DType.U8)
    numbers = b(Dequantize(0.3, 7), b.inputs[0])
    graph = b.finish(b(Quantize(0.31, 7), numbers), b(Quantize(0.3, 8), numbers))
    assert changed(graph, RemoveRequantisation()) == 0
