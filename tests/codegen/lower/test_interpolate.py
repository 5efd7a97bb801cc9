"""Interpolation lowered: axes at both ends, few and many columns, constant tables and those of a run."""

import numpy as np
import pytest

from alula.core.dtype import DType
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.elementwise import Cast, Relu
from alula.ops.gather import Interpolate
from alula.ops.quantize import Quantize
from alula.ops.shape import Concat, Transpose
from tests.codegen.harness import N, assert_narrowed, assert_summed, f32, graph_of, joined, run

RANDOM = np.random.default_rng(0)
PLACES = RANDOM.integers(-5, 5, (3, 2))
WEIGHTS = RANDOM.standard_normal((3, 2)).astype(np.float32)


@pytest.mark.parametrize("columns", [1, 15, 64, 65, 130])
def test_axes(columns, target, compiled):
    def build(f):
        return joined(
            graph_of(Interpolate(1), f32(N, 5, columns), PLACES, f(WEIGHTS)),
            graph_of(Interpolate(2), f32(N, columns, 5), PLACES.astype(np.int32), f(WEIGHTS)),
            graph_of(Interpolate(0), f32(7, columns), PLACES[:1], f(WEIGHTS[:1])),
            graph_of(Interpolate(2), f32(N, columns, 1), np.zeros_like(PLACES), f(WEIGHTS)),
        )

    result = run(compiled(build(lambda array: array), target))
    assert_summed(result, build, 2)
    assert result.compiled.labels == ["interpolate"] * 4


def test_tables_of_a_run(target, compiled):
    types = TensorType(DType.I64, (N, 3, 4)), f32(N, 3, 4)
    graph = graph_of(Interpolate(2, batch=1), f32(N, 2, 5, 19), *types)
    x, weights = (RANDOM.uniform(0, 1, shape).astype(np.float32) for shape in ((6, 2, 5, 19), (6, 3, 4)))
    result = run(compiled(graph, target), [x, RANDOM.integers(-5, 9, (6, 3, 4)), weights])
    for ours, exact in zip(result.outputs, result.expected, strict=True):
        np.testing.assert_allclose(ours, exact, rtol=5e-7)


def test_many_terms_no_terms_and_views(target, compiled):
    many = RANDOM.integers(0, 6, (4, 33)), RANDOM.standard_normal((4, 33)).astype(np.float32)

    def build(f):
        graph = graph_of(Transpose((0, 2, 1)), f32(N, 5, 6), chain=[])
        value = graph.outputs[0][1]
        graph.output("many", graph.add(Interpolate(1), value, graph.constant(many[0]), graph.constant(f(many[1]))))
        graph.output("none", graph.add(Interpolate(1), value, *(graph.constant(array[:, :0]) for array in many)))
        return graph

    assert_summed(run(compiled(build(lambda array: array), target)), build, 33)


def test_it_narrows_what_it_writes(target, compiled):
    quantize, narrow = Quantize(0.02, 100), Cast(DType.BF16)
    operands = f32(N, 2, 5, 19), PLACES, WEIGHTS
    graphs = [graph_of(Interpolate(axis), *operands, chain=[op]) for axis in (1, 2) for op in (quantize, narrow)]
    result = run(compiled(joined(*graphs), target))
    assert result.compiled.labels == ["interpolate+quantize", "interpolate+cast"] * 2
    assert_narrowed(result, share=0.01)


def test_rows_go_where_a_concatenation_wants_them(target, compiled):
    def build(f):
        graph = Graph("parts", {"N": (1, 64)})
        x = graph.input("x", f32(N, 2, 5, 19))
        made = graph.add(Interpolate(2), x, graph.constant(PLACES), graph.constant(f(WEIGHTS)))
        other = graph.add(Relu(), graph.input("y", f32(N, 2, 3, 7)))
        graph.output("z", graph.add(Concat(3), other, made))
        return graph

    result = run(compiled(build(lambda array: array), target))
    assert_summed(result, build, 2)
    assert result.compiled.labels == ["interpolate", "relu"]
