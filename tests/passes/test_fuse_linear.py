import pytest

from alula.ops.elementwise import Add
from alula.ops.matmul import Matmul
from alula.passes.fold_scale_shift import FoldScaleShift
from alula.passes.fuse_linear import FuseLinear
from tests.passes.graphs import Builder, N, changed, counts


@pytest.mark.parametrize("shape", [(8, 5), (1, 8, 5)])
def test_a_product_with_a_constant(shape: tuple[int, ...]) -> None:
    b = Builder((N, 3, 8))
    graph = b.finish(b(Add(), b.constant(5), b(Matmul(), b.inputs[0], b.constant(*shape))))
    assert changed(graph, FuseLinear(), FoldScaleShift()) == 2
    assert counts(graph) == {"linear": 1}
    assert str(graph.nodes[0].inputs[1].type) == "f32[5,8]"


def test_other_products_stay() -> None:
    b = Builder((N, 3, 8), (N, 8, 4))
    graph = b.finish(
        b(Matmul(), *b.inputs),
        b(Matmul(), b.constant(5, 3), b.inputs[0]),
        b(Matmul(), b.inputs[0], b.constant(1, 1, 8, 5)),
        b(Matmul(), b.inputs[0], b.constant(2, 1, 8, 5)),
    )
    assert changed(graph, FuseLinear()) == 0
