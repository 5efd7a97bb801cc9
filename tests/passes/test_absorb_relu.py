import pytest

from alula.core.dtype import DType
from alula.ops.elementwise import Cast, LeakyRelu, Neg, Relu
from alula.ops.quantize import Quantize
from alula.passes.absorb_relu import AbsorbRelu
from tests.passes.graphs import Builder, N, changed, counts

LEVELS = Quantize(0.01, 0)


def test_bytes_from_0_on_need_no_bound() -> None:
    b = Builder((N, 6))
    graph = b.finish(b(LEVELS, b(Relu(), b.inputs[0])))
    assert changed(graph, AbsorbRelu()) == 1
    assert graph.outputs[0][1].producer.inputs == (b.inputs[0],)


def test_one_bound_after_the_other() -> None:
    b = Builder((N, 6))
    graph = b.finish(b(LEVELS, b(Relu(), b(Relu(), b(Neg(), b.inputs[0])))))
    assert changed(graph, AbsorbRelu()) == 2
    assert graph.outputs[0][1].producer.inputs[0].producer.op == Neg()


@pytest.mark.parametrize("zero", [1, 128, 255])
def test_bytes_that_reach_below_0_keep_it(zero: int) -> None:
    b = Builder((N, 6))
    assert changed(b.finish(b(Quantize(0.01, zero), b(Relu(), b.inputs[0]))), AbsorbRelu()) == 0


def test_a_bound_that_others_want_stays() -> None:
    b = Builder((N, 6))
    x = b(Relu(), b.inputs[0])
    assert changed(b.finish(b(LEVELS, x), b(Neg(), x)), AbsorbRelu()) == 0
    b = Builder((N, 6))
    x = b(Relu(), b.inputs[0])
    assert changed(b.finish(b(LEVELS, x), x), AbsorbRelu()) == 0


def test_other_ops_stay() -> None:
    b = Builder((N, 6))
    x = b.inputs[0]
    graph = b.finish(b(LEVELS, b(LeakyRelu(0.1), x)), b(Cast(DType.BF16), b(Relu(), x)), b(LEVELS, x))
    assert changed(graph, AbsorbRelu()) == 0
    assert counts(graph) == {"cast": 1, "leaky_relu": 1, "quantize": 2, "relu": 1}
