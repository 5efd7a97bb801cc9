import math

import pytest

from alula.ir.graph import Value
from alula.ops.elementwise import Add, Div, Erf, Gelu, Mul, Neg, Pow, Relu, Sub, Tanh
from alula.passes.fuse_gelu import FuseGelu
from tests.passes.graphs import Builder, N, changed, counts

ROOT = math.sqrt(2 / math.pi)


def gate(b: Builder, curve: Value, one: float = 1.0) -> Value:
    return b(Add(), curve, b.number(one))


def without(b: Builder, curve: Value) -> Value:
    return b(Sub(), b.number(1), curve)


def erf_of(b: Builder, x: Value) -> Value:
    return b(Erf(), b(Div(), x, b.number(math.sqrt(2))))


def cubic(b: Builder, x: Value) -> Value:
    return b(Mul(), b(Pow(), x, b.number(3)), b.number(0.044715))


def tanh_of(b: Builder, x: Value) -> Value:
    return b(Tanh(), b(Mul(), b.number(ROOT), b(Add(), x, cubic(b, x))))


def square_inside(b: Builder, x: Value) -> Value:
    inner = b(Add(), b(Mul(), b(Mul(), b.number(0.044715), x), x), b.number(1))
    return b(Tanh(), b(Mul(), b(Mul(), x, b.number(ROOT)), inner))


def minus_minus(b: Builder, x: Value) -> Value:
    return b(Tanh(), b(Mul(), b(Neg(), b(Sub(), b(Neg(), cubic(b, x)), x)), b.number(ROOT)))


FUSED = {
    "x * gate * 0.5": ("none", lambda b, x: b(Mul(), b(Mul(), x, gate(b, erf_of(b, x))), b.number(0.5))),
    "0.5 * (x * gate)": ("none", lambda b, x: b(Mul(), b.number(0.5), b(Mul(), gate(b, erf_of(b, x)), x))),
    "(x * 0.5) * gate": ("none", lambda b, x: b(Mul(), b(Mul(), x, b.number(0.5)), gate(b, erf_of(b, x)))),
    "(x / 2) * gate": ("none", lambda b, x: b(Mul(), b(Div(), x, b.number(2)), gate(b, erf_of(b, x)))),
    "x * (gate * 0.5)": ("none", lambda b, x: b(Mul(), x, b(Mul(), gate(b, erf_of(b, x)), b.number(0.5)))),
    "x * gate / 2": ("none", lambda b, x: b(Div(), b(Mul(), x, gate(b, erf_of(b, x))), b.number(2))),
    "times 1 / sqrt(2)": (
        "none",
        lambda b, x: b(Mul(), b(Mul(), x, b.number(0.5)), gate(b, b(Erf(), b(Mul(), x, b.number(math.sqrt(0.5)))))),
    ),
    "tanh": ("tanh", lambda b, x: b(Mul(), b(Mul(), x, b.number(0.5)), gate(b, tanh_of(b, x)))),
    "tanh, x (1 + 0.044715 x x)": (
        "tanh",
        lambda b, x: b(Mul(), b(Mul(), b.number(0.5), x), gate(b, square_inside(b, x))),
    ),
    "1 - erf(-x)": ("none", lambda b, x: b(Mul(), b(Mul(), x, b.number(0.5)), without(b, erf_of(b, b(Neg(), x))))),
    "1 - tanh(-x)": ("tanh", lambda b, x: b(Mul(), b(Mul(), x, b.number(0.5)), without(b, tanh_of(b, b(Neg(), x))))),
    "tanh, signs": ("tanh", lambda b, x: b(Mul(), b(Mul(), b.number(0.5), x), gate(b, minus_minus(b, x)))),
}
LEFT = {
    "1 - erf(x)": lambda b, x: b(Mul(), b(Mul(), x, b.number(0.5)), without(b, erf_of(b, x))),
    "erf - 1": lambda b, x: b(Mul(), b(Mul(), x, b.number(0.5)), b(Sub(), erf_of(b, x), b.number(1))),
    "another factor": lambda b, x: b(Mul(), b(Mul(), x, b.number(0.25)), gate(b, erf_of(b, x))),
    "another gate": lambda b, x: b(Mul(), b(Mul(), x, b.number(0.5)), gate(b, erf_of(b, x), one=2.0)),
    "another argument": lambda b, x: b(Mul(), b(Mul(), x, b.number(0.5)), gate(b, b(Erf(), x))),
    "another x": lambda b, x: b(Mul(), b(Mul(), b(Relu(), x), b.number(0.5)), gate(b, erf_of(b, x))),
    "no cube": lambda b, x: b(Mul(), b(Mul(), x, b.number(0.5)), gate(b, b(Tanh(), b(Mul(), x, b.number(ROOT))))),
    "a sum": lambda b, x: b(Mul(), b(Add(), x, b.number(0.5)), gate(b, erf_of(b, x))),
}


@pytest.mark.parametrize("case", FUSED)
def test_every_way_to_write_it(case: str) -> None:
    approximate, make = FUSED[case]
    b = Builder((N, 30))
    graph = b.finish(make(b, b(Neg(), b.inputs[0])))
    changed(graph, FuseGelu())
    assert [node.op for node in graph.nodes] == [Neg(), Gelu(approximate)]


def test_of_a_product() -> None:
    b = Builder((N, 30), (N, 30))
    x = b(Mul(), *b.inputs)
    graph = b.finish(b(Mul(), b(Mul(), x, b.number(0.5)), gate(b, erf_of(b, x))))
    changed(graph, FuseGelu())
    assert counts(graph) == {"gelu": 1, "mul": 1}


@pytest.mark.parametrize("case", LEFT)
def test_what_is_something_else_stays(case: str) -> None:
    b = Builder((N, 30))
    assert changed(b.finish(LEFT[case](b, b.inputs[0])), FuseGelu()) == 0


def test_times_x_once_more_is_gelu_times_x() -> None:
    b = Builder((N, 30))
    x = b.inputs[0]
    graph = b.finish(b(Mul(), x, b(Mul(), b(Mul(), x, b.number(0.5)), gate(b, erf_of(b, x)))))
    changed(graph, FuseGelu())
    assert counts(graph) == {"gelu": 1, "mul": 1}
