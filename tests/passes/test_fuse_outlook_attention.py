import pytest

from alula.ops.matmul import Matmul
from alula.ops.outlook import OutlookAttention
from alula.ops.shape import Reshape, Transpose
from alula.ops.softmax import Softmax
from alula.ops.unfold import Fold, Unfold
from alula.passes.fuse_outlook_attention import FuseOutlookAttention
from alula.passes.pipeline import optimise
from tests.passes.graphs import Builder, N, changed, counts, outlook_block, run_both

WINDOW = {"kernel": (3, 3), "stride": (2, 2), "pad": (1, 1, 1, 1)}


def test_as_pytorch_models_write_it(golden: object) -> None:
    b = Builder((N, 7, 6, 8), (N, 4, 3, 2 * 81))
    graph = b.finish(outlook_block(b, b.inputs[0], b.inputs[1], heads=2))
    run_both(graph, lambda: optimise(graph))
    assert str(graph) == golden


def test_alone_before_any_other_pass() -> None:
    b = Builder((N, 7, 6, 8), (N, 4, 3, 2 * 81))
    graph = b.finish(outlook_block(b, b.inputs[0], b.inputs[1], heads=2))
    assert changed(graph, FuseOutlookAttention()) == 1


@pytest.mark.parametrize(("window", "rows"), [({"stride": (1, 1)}, (7, 6)), ({"pad": (0, 1, 2, 1)}, (4, 3))])
def test_other_windows(window: dict, rows: tuple[int, int]) -> None:
    b = Builder((N, 7, 6, 8), (N, *rows, 2 * 81))
    graph = b.finish(outlook_block(b, b.inputs[0], b.inputs[1], heads=2, **window))
    run_both(graph, lambda: optimise(graph))
    assert counts(graph) == {"linear": 1, "outlook_attention": 1}


def test_heads_after_the_places_of_the_windows() -> None:
    """Written channels-last: [b,oh,ow,heads,9,d], nothing turned but heads and places."""
    b = Builder((N, 7, 6, 8), (N, 4, 3, 2 * 81))
    weights = b(Softmax(5), b(Reshape((N, 4, 3, 2, 9, 9)), b.inputs[1]))
    values = b(Reshape((N, 4, 3, 9, 2, 4)), b(Unfold(**WINDOW), b.inputs[0]))
    mixed = b(Matmul(), weights, b(Transpose((0, 1, 2, 4, 3, 5)), values))
    columns = b(Reshape((N, 4, 3, 9, 8)), b(Transpose((0, 1, 2, 4, 3, 5)), mixed))
    graph = b.finish(b(Fold((7, 6), **WINDOW), columns))
    assert changed(graph, FuseOutlookAttention()) == 1
    assert [node.op for node in graph.nodes] == [OutlookAttention(2, (3, 3), (2, 2), (1, 1, 1, 1), 1.0)]


def windows(*, axis: int = 3, turned: bool = False, fold_pad: tuple = (1, 1, 1, 1), size: int = 6) -> Builder:
    """One head; as a control it fuses, and each argument makes it something else."""
    b = Builder((N, 6, 6, 4), (N, 3, 3, 81))
    weights = b(Softmax(axis), b(Reshape((N, 9, 9, 9)), b.inputs[1]))
    if turned:
        weights = b(Transpose((0, 1, 3, 2)), weights)
    values = b(Reshape((N, 9, 9, 4)), b(Unfold(**WINDOW), b.inputs[0]))
    mixed = b(Reshape((N, 3, 3, 9, 4)), b(Matmul(), weights, values))
    b.finish(b(Fold((size, size), (3, 3), (2, 2), fold_pad), mixed))
    return b


def test_what_is_something_else_is_refused() -> None:
    assert changed(windows().graph, FuseOutlookAttention()) == 1
    for case in ({"axis": 2}, {"turned": True}, {"fold_pad": (0, 1, 1, 1)}, {"size": 5}):
        assert changed(windows(**case).graph, FuseOutlookAttention()) == 0, case
