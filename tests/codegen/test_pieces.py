"""Batches that run piece by piece: which graphs may, and that nobody can tell from the results."""

from collections.abc import Callable

import numpy as np
import pytest

from alula.codegen.pieces import ARENA_SHARE, is_separable, piece_size
from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.core.target import AVX2
from alula.ir.graph import Graph, Value
from alula.ir.types import TensorType
from alula.ops.attention import Attention
from alula.ops.elementwise import Add, Exp
from alula.ops.gather import Gather, Interpolate, Scatter
from alula.ops.matmul import Matmul
from alula.ops.reduce import ReduceMax
from alula.ops.reference import run_reference
from alula.ops.shape import Concat, Pad, Reshape, Slice, Transpose
from alula.ops.softmax import Softmax
from alula.ops.sort import TopK
from tests.codegen.harness import Compiled

N = symbol("N")
ROWS, COLUMNS = 6, 40
PLACES, SHARES = np.array([[0, 1], [3, 0], [1, 1]]), np.array([[0.5, 1], [2, -1], [0, 1]], np.float32)
ONE = np.ones((1, ROWS, COLUMNS), np.float32)


def graph_with(make: Callable[[Graph, Value], Value]) -> Graph:
    graph = Graph("test", {"N": (1, 4096)})
    graph.output("y", make(graph, graph.input("x", TensorType(DType.F32, (N, ROWS, COLUMNS)))))
    return graph


SEPARABLE: dict[str, Callable[[Graph, Value], Value]] = {
    "elementwise": lambda g, x: g.add(Exp(), x),
    "attention": lambda g, x: g.add(Attention(2, 0.5), x, x, x),
    "tokens": lambda g, x: g.add(ReduceMax((1,)), g.add(Reshape((N * 2, 3, COLUMNS)), x)),
    "transpose": lambda g, x: g.add(Softmax(1), g.add(Transpose((0, 2, 1)), x)),
    "matmul": lambda g, x: g.add(Matmul(), x, g.add(Transpose((0, 2, 1)), x)),
    "constant": lambda g, x: g.add(Add(), x, g.constant(np.ones((1, ROWS, 1), np.float32))),
    "gather": lambda g, x: g.add(Gather(1), x, g.constant(PLACES)),
    "interpolate": lambda g, x: g.add(Interpolate(1), x, g.constant(PLACES), g.constant(SHARES)),
    "scatter": lambda g, x: g.add(Scatter(1), x, g.constant(PLACES[0]), g.add(Slice(1, 0, 2), x)),
    "top": lambda g, x: g.add_node(TopK(3), x).outputs[0],
}
TOGETHER: dict[str, Callable[[Graph, Value], Value]] = {
    "reduce": lambda g, x: g.add(Add(), x, g.add(ReduceMax((0,), keepdims=True), x)),
    "softmax": lambda g, x: g.add(Softmax(0), x),
    "transpose": lambda g, x: g.add(Transpose((1, 0, 2)), x),
    "concat": lambda g, x: g.add(Concat(0), x, x),
    "pad": lambda g, x: g.add(Pad((1, 0, 0), (0, 0, 0)), x),
    "slice": lambda g, x: g.add(Slice(0, 0, 1), x),
    "gather": lambda g, x: g.add(Gather(0), x, g.constant(PLACES)),
    "interpolate": lambda g, x: g.add(Interpolate(0), x, g.constant(PLACES), g.constant(SHARES)),
    "scatter": lambda g, x: g.add(Scatter(0), g.add(Exp(), x), g.constant(PLACES[0, :1]), g.constant(ONE)),
}


@pytest.mark.parametrize("name", SEPARABLE)
def test_ops_within_an_image_may_run_in_pieces(name: str) -> None:
    assert is_separable(graph_with(SEPARABLE[name]))


@pytest.mark.parametrize("name", TOGETHER)
def test_ops_along_the_batch_may_not(name: str) -> None:
    graph = graph_with(TOGETHER[name])
    assert not is_separable(graph)
    assert piece_size(graph, 1, AVX2) == 0


def test_a_graph_without_a_batch_runs_at_once() -> None:
    graph = Graph("test")
    graph.output("y", graph.add(Exp(), graph.input("x", TensorType(DType.F32, (2, 3)))))
    assert not is_separable(graph)


def test_pieces_fit_the_cache_and_are_never_empty() -> None:
    graph = graph_with(SEPARABLE["elementwise"])
    assert piece_size(graph, AVX2.l2_bytes, AVX2) == ARENA_SHARE
    assert piece_size(graph, 1 << 40, AVX2) == 1


@pytest.mark.parametrize("name", [*SEPARABLE, *(f"together {name}" for name in TOGETHER if name != "softmax")])
def test_results_do_not_show_the_pieces(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alula.codegen.pieces.ARENA_SHARE", 1e-9)  # one image at a time
    graph = graph_with(SEPARABLE.get(name) or TOGETHER[name.removeprefix("together ")])
    images = np.random.default_rng(0).standard_normal((5, ROWS, COLUMNS)).astype(np.float32)
    compiled = Compiled(graph, AVX2)
    assert compiled.program.piece == (0 if name.startswith("together") else 1)
    np.testing.assert_allclose(compiled(images)[0], run_reference(graph, [images])[0], rtol=2e-6, atol=2e-6)
    compiled.close()
