import pytest

from alula.ir.graph import Value
from alula.ops.elementwise import Add, Clip, Div, HardSigmoid, Mul, Sigmoid
from alula.passes.fuse_gates import FuseGates
from alula.passes.pipeline import optimise
from tests.passes.graphs import Builder, N, changed, counts, run_both


def six(b: Builder, x: Value, three: float = 3.0, high: float = 6.0) -> Value:
    return b(Clip(0.0, high), b(Add(), x, b.number(three)))


FUSED = {
    "x * sigmoid(x)": ("silu", lambda b, x: b(Mul(), x, b(Sigmoid(), x))),
    "sigmoid(x) * x": ("silu", lambda b, x: b(Mul(), b(Sigmoid(), x), x)),
    "x * hard_sigmoid(x)": ("hard_swish", lambda b, x: b(Mul(), x, b(HardSigmoid(), x))),
    "clip(x + 3) / 6": ("hard_sigmoid", lambda b, x: b(Div(), six(b, x), b.number(6.0))),
    "clip(3 + x) * 1/6": (
        "hard_sigmoid",
        lambda b, x: b(Mul(), b.number(1 / 6), b(Clip(0.0, 6.0), b(Add(), b.number(3.0), x))),
    ),
    "x * (clip(x + 3) / 6)": ("hard_swish", lambda b, x: b(Mul(), x, b(Div(), six(b, x), b.number(6.0)))),
    "x * clip(x + 3) / 6": ("hard_swish", lambda b, x: b(Div(), b(Mul(), x, six(b, x)), b.number(6.0))),
    "clip(x + 3) * x / 6": ("hard_swish", lambda b, x: b(Div(), b(Mul(), six(b, x), x), b.number(6.0))),
}
KEPT = {
    "another gate": lambda b, x: b(Mul(), x, b(Sigmoid(), b(Add(), x, b.number(1.0)))),
    "another number": lambda b, x: b(Div(), six(b, x, three=2.0), b.number(6.0)),
    "another limit": lambda b, x: b(Div(), six(b, x, high=5.0), b.number(6.0)),
    "another divisor": lambda b, x: b(Div(), six(b, x), b.number(5.0)),
    "divided by the gate": lambda b, x: b(Div(), x, b(Sigmoid(), x)),
}


@pytest.mark.parametrize("form", FUSED)
def test_fused(form: str) -> None:
    name, write = FUSED[form]
    b = Builder((N, 3, 8))
    graph = b.finish(write(b, b.inputs[0]))
    assert changed(graph, FuseGates()) > 0
    assert counts(graph) == {name: 1}


def test_a_steeper_sigmoid_leaves_factors_for_the_layers_around_it() -> None:
    """The GELU of CLIP, x * sigmoid(1.702 x)."""
    b = Builder((N, 3, 8))
    x = b.linear(b.inputs[0], 16)
    y = b(Mul(), x, b(Sigmoid(), b(Mul(), x, b.number(1.702))))
    graph = b.finish(b.linear(y, 8))
    run_both(graph, lambda: optimise(graph))
    assert [node.op.name for node in graph.nodes] == ["linear", "silu", "linear"]


@pytest.mark.parametrize("form", KEPT)
def test_kept(form: str) -> None:
    b = Builder((N, 3, 8))
    assert changed(b.finish(KEPT[form](b, b.inputs[0])), FuseGates()) == 0
