"""Planes turned into pixels: few channels, any number of pixels, narrowed, with numbers for each channel."""

import numpy as np
import pytest

from alula.core.dtype import DType
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.elementwise import Add, Cast, Mul
from alula.ops.quantize import Quantize
from alula.ops.shape import Concat, Slice, Transpose
from tests.codegen.harness import N, assert_equal, assert_narrowed, f32, graph_of, joined, random_array, run

TO_PIXELS = Transpose((0, 2, 3, 1))
SIZES = [(1, 1), (3, 5), (4, 4), (7, 9), (48, 45)]  # less and more than a vector, and than a chunk


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_copies(channels, target, compiled):
    types = [TensorType(dtype, (N, channels, *size)) for size in SIZES for dtype in (DType.F32, DType.U8, DType.BF16)]
    result = run(compiled(joined(*(graph_of(TO_PIXELS, type) for type in types)), target))
    assert_equal(result)
    assert {step.kernel.rsplit("_", 1)[0] for step in result.compiled.program.steps} == {"planes", "map"}  # 1 x 1: map


@pytest.mark.parametrize("channels", [2, 3, 4])
def test_quantised_with_a_mean_and_a_factor_for_each_channel(channels, target, compiled):
    def build(size):
        graph = Graph("picture", {"N": (1, 64)})
        pixels = graph.add(TO_PIXELS, graph.input("x", f32(N, channels, *size)))
        mean, factor = (graph.constant(random_array(f32(channels), seed)) for seed in (1, 2))
        value = graph.add(Mul(), graph.add(Add(), pixels, mean), factor)
        graph.output("bytes", graph.add(Quantize(0.02, 120), value))
        graph.output("narrow", graph.add(Cast(DType.BF16), graph.add(Mul(), pixels, graph.constant(np.float32(3)))))
        return graph

    result = run(compiled(joined(*(build(size) for size in SIZES[1:])), target))
    assert_narrowed(result)
    assert all(step.kernel.startswith("planes") for step in result.compiled.program.steps)


def test_part_of_the_planes_and_other_places_of_pixels(target, compiled):
    graph = Graph("parts", {"N": (1, 64)})
    x = graph.input("x", f32(N, 5, 6, 7))
    part = graph.add(TO_PIXELS, graph.add(Slice(1, 1, 4), x))
    graph.output("part", graph.add(Mul(), part, graph.constant(np.float32(2))))
    graph.output("mixed", graph.add(Concat(3), part, graph.add(TO_PIXELS, graph.add(Slice(1, 0, 2), x))))
    assert_equal(run(compiled(graph, target)))
