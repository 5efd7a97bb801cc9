"""Batches that run piece by piece: which graphs may, and that nobody can tell from the results."""

from collections.abc import Callable

import numpy as np
import pytest

from alula.codegen.pieces import ARENA_SHARE, Pieces, is_separable, piece_size, pieces_of
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


@pytest.mark.parametrize(
    ("batch", "threads", "piece", "expected"),
    [
        (1, 2, 4, Pieces(2, alone=0, images=1, together=1, held=1)),
        (2, 2, 1, Pieces(2, alone=2, images=1, together=0, held=2)),
        (3, 2, 2, Pieces(2, alone=2, images=1, together=1, held=2)),
        (3, 4, 2, Pieces(4, alone=0, images=1, together=2, held=2)),
        (8, 2, 13, Pieces(2, alone=2, images=4, together=0, held=8)),
        (9, 2, 13, Pieces(2, alone=2, images=4, together=1, held=8)),
        (5, 1, 2, Pieces(1, alone=2, images=2, together=1, held=2)),
        (0, 2, 2, Pieces(2, alone=0, images=1, together=0, held=0)),
    ],
)
def test_each_thread_does_pieces_alone_while_there_are_enough(
    batch: int, threads: int, piece: int, expected: Pieces
) -> None:
    assert pieces_of(batch, threads, piece) == expected


def test_a_batch_that_has_to_run_at_once_is_one_piece() -> None:
    assert pieces_of(7, 2, 0).lasting == [1.0]
    assert pieces_of(7, 2, 0).held == 7


def test_pieces_done_side_by_side_last_a_part_each() -> None:
    assert pieces_of(3, 2, 1).lasting == [0.5, 0.5, 1.0]


@pytest.mark.parametrize("share", [0, 8], ids=["one image at a time", "many"])
@pytest.mark.parametrize("name", [*SEPARABLE, *(f"together {name}" for name in TOGETHER if name != "softmax")])
def test_results_do_not_show_the_pieces(name: str, share: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("alula.codegen.pieces.ARENA_SHARE", share)
    graph = graph_with(SEPARABLE.get(name) or TOGETHER[name.removeprefix("together ")])
    images = np.random.default_rng(0).standard_normal((7, ROWS, COLUMNS)).astype(np.float32)
    compiled = Compiled(graph, AVX2, threads=3)
    apart = not name.startswith("together")
    assert (compiled.program.piece > 0) == apart
    ours = compiled(images)[0]
    np.testing.assert_allclose(ours, run_reference(graph, [images])[0], rtol=2e-6, atol=2e-6)
    if apart:
        for threads in (1, 2, 3):
            np.testing.assert_array_equal(compiled(images, threads=threads)[0], ours)
            np.testing.assert_array_equal(compiled(images[2:3], threads=threads)[0].ravel(), ours.reshape(7, -1)[2])
    compiled.close()


def test_threads_that_work_alone_do_not_share_memory() -> None:
    """Much work, many times: what one thread wrote where another reads would be seen."""
    graph = Graph("test", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.F32, (N, 64, 256)))
    graph.output("y", graph.add(Attention(2, 0.5), graph.add(Softmax(1), graph.add(Exp(), x)), x, graph.add(Exp(), x)))
    images = np.random.default_rng(1).standard_normal((16, 64, 256)).astype(np.float32)
    compiled = Compiled(graph, AVX2)
    expected = np.concatenate([compiled(image[None])[0] for image in images])
    for _ in range(30):
        np.testing.assert_array_equal(compiled(images)[0], expected)
    compiled.close()


@pytest.mark.parametrize("batch", [1, 2, 3, 7])
def test_every_piece_has_stamps_of_its_own(batch: int) -> None:
    compiled = Compiled(graph_with(SEPARABLE["elementwise"]), AVX2)
    unstamped = np.iinfo(np.int64).max
    stamps = np.full((9, len(compiled.labels) + 1), unstamped)
    compiled(np.repeat(ONE, batch, 0), stamps=stamps)
    pieces = len(pieces_of(batch, 2, compiled.program.piece).lasting)
    assert ((stamps < unstamped).all(axis=1) == (np.arange(9) < pieces)).all()
    compiled.close()
