import numpy as np
import pytest

from alula.core.dtype import DType
from alula.ops.elementwise import Add, Div, Mul, Normalize, Relu, Sub
from alula.ops.shape import Transpose
from alula.passes.fold_input_normalisation import FoldInputNormalisation
from tests.passes.graphs import TO_NCHW, TO_NHWC, Builder, N, changed, counts

SCALE, SHIFT = (0.017, 0.0175, 0.0174), (-2.1, -2.0, -1.8)


def test_normalize_of_bytes_with_the_border_right() -> None:
    b = Builder((N, 6, 7, 3), dtype=DType.U8)
    x = b(Normalize(SCALE, SHIFT), b.inputs[0])
    graph = b.finish(b.conv(x, 4, 3, pad=(1, 2, 0, 1), stride=(2, 1)))
    assert changed(graph, FoldInputNormalisation()) == 1
    assert [node.op.name for node in graph.nodes] == ["conv2d"]
    assert (graph.nodes[0].op.scale, graph.nodes[0].op.shift) == (SCALE, SHIFT)


def test_through_transposes() -> None:
    b = Builder((N, 6, 7, 3), dtype=DType.U8)
    x = b(Transpose(TO_NHWC), b(Transpose(TO_NCHW), b(Normalize(SCALE, SHIFT), b.inputs[0])))
    graph = b.finish(b.conv(x, 4, 3, pad=(1, 1, 1, 1)))
    assert changed(graph, FoldInputNormalisation()) == 1
    assert counts(graph) == {"conv2d": 1}


def test_arithmetic_of_the_model_on_its_nchw_input() -> None:
    b = Builder((N, 3, 6, 7))
    x = b(Div(), b(Sub(), b.inputs[0], b.constant(3, 1, 1)), b.constant(1, 3, 1, 1, low=0.5))
    x = b(Transpose(TO_NHWC), b(Add(), b(Mul(), x, b.number(3)), b.number(0.5)))
    graph = b.finish(b.conv(x, 4, 3, pad=(1, 1, 1, 1)))
    assert changed(graph, FoldInputNormalisation()) == 1
    assert counts(graph) == {"conv2d": 1, "transpose": 1}


def test_sub_from_a_constant() -> None:
    b = Builder((N, 6, 7, 3))
    graph = b.finish(b.conv(b(Sub(), b.number(1), b.inputs[0]), 4, 3, pad=(1, 1, 1, 1)))
    assert changed(graph, FoldInputNormalisation()) == 1


@pytest.mark.parametrize(
    "make",
    [
        lambda b, x: b(Add(), b(Relu(), x), b.constant(3)),
        lambda b, x: b(Add(), x, b.constant(6, 7, 1)),
        lambda b, x: b(Div(), b.constant(3), x),
        lambda b, x: b(Div(), x, b.graph.constant(np.zeros(3, np.float32))),
        lambda b, x: b(Add(), x, x),
        lambda b, x: x,
    ],
)
def test_what_is_no_normalisation_of_the_input_stays(make: object) -> None:
    b = Builder((N, 6, 7, 3))
    graph = b.finish(b.conv(make(b, b.inputs[0]), 4, 3, pad=(1, 1, 1, 1)))
    assert changed(graph, FoldInputNormalisation()) == 0
