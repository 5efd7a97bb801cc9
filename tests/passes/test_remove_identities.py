import numpy as np
import pytest

from alula.core.dtype import DType
from alula.ir.graph import Value
from alula.ops.elementwise import Add, Cast, Clip, Div, Mul, Pow, Relu, Sub
from alula.ops.reduce import ReduceMax, ReduceSum
from alula.ops.shape import Concat, Expand, Pad, Reshape, Slice, Transpose
from alula.passes.remove_identities import RemoveIdentities
from tests.passes.graphs import Builder, N, changed, counts

NOTHING = [
    lambda b, x: b(Reshape((N, 4, 6)), x),
    lambda b, x: b(Transpose((0, 1, 2)), x),
    lambda b, x: b(Cast(DType.F32), x),
    lambda b, x: b(Slice(1, 0, 4), x),
    lambda b, x: b(Expand((N, 4, 6)), x),
    lambda b, x: b(Pad((0, 0, 0), (0, 0, 0)), x),
    lambda b, x: b(Concat(1), x),
    lambda b, x: b(Clip(-float("inf"), float("inf")), x),
    lambda b, x: b(ReduceSum(()), x),
    lambda b, x: b(Mul(), x, b.number(1)),
    lambda b, x: b(Mul(), b.number(1), x),
    lambda b, x: b(Add(), x, b.graph.constant(np.zeros(6, np.float32))),
    lambda b, x: b(Sub(), x, b.number(0)),
    lambda b, x: b(Div(), x, b.number(1)),
    lambda b, x: b(Pow(), x, b.number(1)),
]
SOMETHING = [
    lambda b, x: b(Reshape((N, 6, 4)), x),
    lambda b, x: b(Slice(1, 0, 3), x),
    lambda b, x: b(Cast(DType.F64), x),
    lambda b, x: b(Expand((3, N, 4, 6)), x),
    lambda b, x: b(Clip(-float("inf"), 1.0), x),
    lambda b, x: b(ReduceMax((1,), keepdims=True), x),
    lambda b, x: b(Sub(), b.number(0), x),
    lambda b, x: b(Div(), b.number(1), x),
    lambda b, x: b(Pow(), b.number(1), x),
    lambda b, x: b(Mul(), x, b.graph.constant(np.ones((1, 1, 1, 1), np.float32))),
    lambda b, x: b(Add(), x, b.number(1)),
]


@pytest.mark.parametrize("make", NOTHING)
def test_what_changes_nothing_goes(make: object) -> None:
    b = Builder((N, 4, 6))
    graph = b.finish(b(Relu(), make(b, b.inputs[0])))
    assert changed(graph, RemoveIdentities()) == 1
    assert counts(graph) == {"relu": 1}


@pytest.mark.parametrize("make", SOMETHING)
def test_what_changes_something_stays(make: object) -> None:
    b = Builder((N, 4, 6))
    value: Value = make(b, b.inputs[0])
    assert changed(b.finish(value), RemoveIdentities()) == 0
