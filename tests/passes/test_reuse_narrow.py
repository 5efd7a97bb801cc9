from collections.abc import Callable

import numpy as np
import pytest

from alula.core.dtype import DType, cast_array
from alula.ir.graph import Graph, Node, Value
from alula.ops.elementwise import Add, Cast, Gelu, Mul, Neg, Relu
from alula.ops.norm import LayerNorm
from alula.ops.quantize import Dequantize, Quantize
from alula.ops.reference import run_reference
from alula.passes.reuse_narrow import ReuseNarrow
from alula.passes.rewrite import run_verified
from tests.passes.graphs import Builder, N, random_inputs

CAST, LEVELS = Cast(DType.BF16), Quantize(0.02, 110)
BACK = {CAST: Cast(DType.F32), LEVELS: Dequantize(0.02, 110)}
both = pytest.mark.parametrize("narrow", [CAST, LEVELS], ids=lambda op: op.name)


def changed(graph: Graph) -> int:
    """How many changes; narrow outputs stay, sums move by what the narrow type leaves out."""
    inputs = random_inputs(graph, 3)
    before = run_reference(graph, inputs)
    total = run_verified(ReuseNarrow(), graph)
    for wanted, now in zip(before, run_reference(graph, inputs), strict=True):
        a, b = (cast_array(x, DType.F32) for x in (wanted, now))
        moved = np.abs(a - b).max()
        assert moved == 0 if wanted.dtype != np.float32 or not total else 0 < moved < 0.025
    text = str(graph)
    assert ReuseNarrow().run(graph) == 0
    assert str(graph) == text
    return total


def sums(graph: Graph) -> list[Node]:
    """The additions in use."""
    return [node for node in graph.nodes if isinstance(node.op, Add) and graph.is_used(node.output)]


@both
@pytest.mark.parametrize("place", [0, 1])
def test_a_shortcut_is_read_from_what_is_stored_narrow(narrow: Quantize, place: int) -> None:
    b = Builder((N, 4, 6), (N, 4, 6))
    x = b(Relu(), b.inputs[0])
    narrowed = b(narrow, x)
    operands = [b.inputs[1], b.inputs[1]]
    operands[place] = x
    graph = b.finish(narrowed, b(Add(), *operands))
    assert changed(graph) == 1
    (node,) = sums(graph)
    widened = node.inputs[place].producer
    assert widened.op == BACK[narrow]
    assert widened.inputs == (narrowed,)
    assert node.inputs[1 - place] is b.inputs[1]
    assert [user.op for user in x.uses] == [narrow]


@both
def test_several_sums_and_both_sides_of_one(narrow: Quantize) -> None:
    b = Builder((N, 4, 6), (N, 4, 6))
    x, y = b(Relu(), b.inputs[0]), b(Neg(), b.inputs[1])
    narrowed = [b(narrow, value) for value in (x, y)]
    graph = b.finish(*narrowed, b(Add(), x, y), b(Add(), b.inputs[0], x))
    assert changed(graph) == 3
    assert [len({*value.uses}) for value in (x, y)] == [1, 1]
    widened = [value.producer for node in sums(graph) for value in node.inputs if value.producer]
    assert [node.op for node in widened] == [BACK[narrow]] * 3


def test_twice_itself() -> None:
    b = Builder((N, 4, 6))
    x = b(Relu(), b.inputs[0])
    graph = b.finish(b(CAST, x), b(Add(), x, x))
    assert changed(graph) == 2
    assert [user.op for user in x.uses] == [CAST]


def stream(b: Builder, x: Value) -> Value:
    """What a transformer's block does first."""
    return b(LayerNorm(1e-5), x, b.constant(6), b.constant(6))


@both
@pytest.mark.parametrize(
    "other",
    [
        stream,
        lambda b, x: b(Gelu(), x),
        lambda b, x: b(Mul(), x, x),
        lambda b, x: b(Quantize(0.5, 3), x),  # another narrowing: neither is the one
        lambda b, x: b(Cast(DType.I32), x),
        lambda b, x: x,  # an output of the graph
    ],
    ids=["layer_norm", "gelu", "mul", "quantize", "cast", "output"],
)
def test_where_others_want_float32_it_stays(other: Callable[[Builder, Value], Value], narrow: Quantize) -> None:
    b = Builder((N, 4, 6), (N, 4, 6))
    x = b(Relu(), b.inputs[0])
    graph = b.finish(b(narrow, x), other(b, x), b(Add(), x, b.inputs[1]))
    assert changed(graph) == 0


def test_the_stream_of_a_transformer_stays() -> None:
    b = Builder((N, 4, 6))
    x = b(Relu(), b.inputs[0])
    graph = b.finish(b(Add(), x, b.linear(b(Cast(DType.F32), b(CAST, stream(b, x))), 6)))
    assert changed(graph) == 0


def test_an_input_of_the_graph_stays() -> None:
    b = Builder((N, 4, 6), (N, 4, 6))
    assert changed(b.finish(b(CAST, b.inputs[0]), b(Add(), *b.inputs))) == 0


def test_a_sum_before_the_narrowing_stays() -> None:
    b = Builder((N, 4, 6), (N, 4, 6))
    x = b(Relu(), b.inputs[0])
    total = b(Add(), x, b.inputs[1])
    assert changed(b.finish(total, b(CAST, x))) == 0


@pytest.mark.parametrize("cast", [Cast(DType.F16), Cast(DType.U8), Cast(DType.I32)], ids=str)
def test_other_casts_stay(cast: Cast) -> None:
    b = Builder((N, 4, 6), (N, 4, 6))
    x = b(Relu(), b.inputs[0])
    assert changed(b.finish(b(cast, x), b(Add(), x, b.inputs[1]))) == 0


@pytest.mark.parametrize("dtype", [DType.F64, DType.F16], ids=str)
def test_sums_in_other_types_stay(dtype: DType) -> None:
    b = Builder((N, 4, 6), (N, 4, 6), dtype=dtype)
    x = b(Relu(), b.inputs[0])
    assert changed(b.finish(b(CAST, x), b(Add(), x, b.inputs[1]))) == 0
