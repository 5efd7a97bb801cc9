import pytest

from alula.ops.pool import AvgPool2d, MaxPool2d
from alula.passes.fold_whole_pools import FoldWholePools
from tests.passes.graphs import Builder, N, changed, counts

WHOLE = {
    "as large": {"kernel": (5, 7), "stride": (1, 1)},
    "larger": {"kernel": (640, 9), "stride": (640, 9), "ceil_mode": True},
}
PARTS = {
    "rows": {"kernel": (4, 7), "stride": (4, 1)},
    "columns": {"kernel": (5, 6), "stride": (1, 6)},
    "padded": {"kernel": (7, 9), "stride": (1, 1), "pad": (1, 1, 1, 1)},
}


@pytest.mark.parametrize("form", WHOLE)
@pytest.mark.parametrize(("pool", "name"), [(AvgPool2d, "reduce_mean"), (MaxPool2d, "reduce_max")])
def test_one_window(form: str, pool: type[AvgPool2d] | type[MaxPool2d], name: str) -> None:
    b = Builder((N, 5, 7, 3))
    graph = b.finish(b(pool(**WHOLE[form]), b.inputs[0]))
    assert changed(graph, FoldWholePools()) == 1
    assert counts(graph) == {name: 1}


@pytest.mark.parametrize("form", PARTS)
@pytest.mark.parametrize("pool", [AvgPool2d, MaxPool2d])
def test_part_of_the_image(form: str, pool: type[AvgPool2d] | type[MaxPool2d]) -> None:
    b = Builder((N, 5, 7, 3))
    assert changed(b.finish(b(pool(**PARTS[form]), b.inputs[0])), FoldWholePools()) == 0
