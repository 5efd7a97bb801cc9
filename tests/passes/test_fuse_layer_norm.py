import pytest

from alula.ir.graph import Value
from alula.ops.elementwise import Add, Div, Mul, Neg, Pow, Reciprocal, Relu, Rsqrt, Sqrt, Sub
from alula.ops.norm import LayerNorm
from alula.ops.reduce import ReduceMean
from alula.passes.fold_scale_shift import FoldScaleShift
from alula.passes.fuse_layer_norm import FuseLayerNorm
from tests.passes.graphs import Builder, N, changed

LAST = ReduceMean((2,), keepdims=True)


def centred(b: Builder, x: Value, mean: ReduceMean = LAST) -> Value:
    return b(Sub(), x, b(mean, x))


def variance(b: Builder, d: Value, mean: ReduceMean = LAST) -> Value:
    return b(Add(), b(mean, b(Pow(), d, b.number(2))), b.number(1e-6))


def product_variance(b: Builder, d: Value) -> Value:
    return b(Add(), b.number(1e-6), b(LAST, b(Mul(), d, d)))


FUSED = {
    "d / sqrt": lambda b, d, v: b(Div(), d, b(Sqrt(), v)),
    "d / v ** 0.5": lambda b, d, v: b(Div(), d, b(Pow(), v, b.number(0.5))),
    "d * rsqrt": lambda b, d, v: b(Mul(), d, b(Rsqrt(), v)),
    "rsqrt * d": lambda b, d, v: b(Mul(), b(Rsqrt(), v), d),
    "d * reciprocal": lambda b, d, v: b(Mul(), d, b(Reciprocal(), b(Sqrt(), v))),
    "d * (1 / sqrt)": lambda b, d, v: b(Mul(), d, b(Div(), b.number(1), b(Sqrt(), v))),
    "d * v ** -0.5": lambda b, d, v: b(Mul(), d, b(Pow(), v, b.number(-0.5))),
}


@pytest.mark.parametrize("case", FUSED)
@pytest.mark.parametrize("spread", [variance, product_variance])
@pytest.mark.parametrize("shared", [True, False])
def test_every_way_to_write_it(case: str, spread: object, shared: bool) -> None:
    b = Builder((N, 3, 8))
    x = b(Relu(), b.inputs[0])
    d = centred(b, x)
    normal = FUSED[case](b, d, spread(b, d if shared else centred(b, x)))
    graph = b.finish(b(Add(), b(Mul(), normal, b.constant(8)), b.constant(8)))
    changed(graph, FuseLayerNorm(), FoldScaleShift())
    assert [node.op.name for node in graph.nodes] == ["relu", "layer_norm"]
    assert graph.nodes[1].op.eps == pytest.approx(1e-6)


def test_what_is_something_else_stays() -> None:
    b = Builder((N, 8, 8))
    x = b.inputs[0]
    other = ReduceMean((1,), keepdims=True)
    d, wrong = centred(b, x), centred(b, x, other)
    graph = b.finish(
        b(Div(), wrong, b(Sqrt(), variance(b, wrong, other))),
        b(Div(), d, b(Sqrt(), variance(b, wrong))),
        b(Div(), d, variance(b, d)),
        b(Div(), d, b(Sqrt(), b(LAST, b(Mul(), d, d)))),
        b(Div(), d, b(Sqrt(), b(Add(), b(LAST, b(Mul(), d, x)), b.number(1e-6)))),
        b(Div(), x, b(Sqrt(), variance(b, x))),
        b(Div(), d, b(Sqrt(), b(Add(), b(LAST, b(Pow(), d, b.number(3))), b.number(1)))),
    )
    assert changed(graph, FuseLayerNorm()) == 0
    assert not any(isinstance(node.op, LayerNorm) for node in graph.nodes)


def spread_out(b: Builder, x: Value, gamma: Value | None, beta: Value | None, mean: Value | None = None) -> Value:
    """As Keras writes it: x * s + (beta - mean * s)."""
    mean = b(LAST, x) if mean is None else mean
    s = b(Rsqrt(), product_variance(b, b(Sub(), x, b(LAST, x))))
    s = s if gamma is None else b(Mul(), s, gamma)
    shift = b(Mul(), b(Neg(), mean), s)
    return b(Add(), b(Mul(), x, s), shift if beta is None else b(Add(), shift, beta))


@pytest.mark.parametrize("weighed", [True, False])
@pytest.mark.parametrize("moved", [True, False])
def test_spread_out_over_a_sum(weighed: bool, moved: bool) -> None:
    b = Builder((N, 3, 8))
    x = b(Relu(), b.inputs[0])
    gamma, beta = b.constant(1, 1, 8) if weighed else None, b.constant(8) if moved else None
    graph = b.finish(spread_out(b, x, gamma, beta))
    assert changed(graph, FuseLayerNorm()) == 1
    assert [node.op.name for node in graph.nodes] == ["relu", "layer_norm"]
    assert graph.nodes[1].op.eps == pytest.approx(1e-6)


def test_spread_out_of_something_else_stays() -> None:
    b = Builder((N, 3, 8), (N, 3, 8))
    x, other = b.inputs
    graph = b.finish(
        spread_out(b, x, None, None, mean=b(LAST, other)),
        spread_out(b, x, b.constant(3, 1), None),
        spread_out(b, x, None, b.constant(3, 1)),
    )
    assert changed(graph, FuseLayerNorm()) == 0
