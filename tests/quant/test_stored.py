"""What is stored in bfloat16 between kernels: what is rounded soon, and nothing else."""

from collections.abc import Callable

import numpy as np
import pytest

from alula.codegen.groups import narrowable_outputs
from alula.codegen.packing import pack_weights
from alula.compiler import lower_precision
from alula.core.dtype import DType
from alula.core.target import CpuTarget
from alula.ir.graph import Graph, Value
from alula.ir.types import TensorType
from alula.ops.elementwise import Add, Exp, Mul, Relu, Sigmoid, Silu
from alula.ops.matmul import Linear
from alula.ops.norm import LayerNorm
from alula.ops.pool import MaxPool2d
from alula.ops.reduce import ReduceMean
from alula.ops.shape import Concat
from alula.quant.bfloat16 import use_bfloat16
from alula.quant.stored import store_bfloat16
from tests.codegen.conftest import compiled, every_target  # noqa: F401  fixtures
from tests.codegen.harness import Compiled, run
from tests.quant.networks import N, error, normal

IMAGES = np.random.default_rng(5).standard_normal((8, 6, 6, 16)).astype(np.float32)


def linear(graph: Graph, x: Value, features: int, seed: int) -> Value:
    weight = graph.constant(1.5 * normal(features, x.type.shape[-1], seed=seed))
    return graph.add(Linear(), x, weight, graph.constant(0.1 * normal(features, seed=seed + 1)))


def graph_with_input() -> tuple[Graph, Value]:
    graph = Graph("test", {"N": (1, 64)})
    return graph, graph.input("x", TensorType(DType.F32, (N, 6, 6, 16)))


def shortcut() -> Graph:
    """Two layers that are added, and one that takes the sum."""
    graph, x = graph_with_input()
    y = graph.add(Relu(), graph.add(Add(), linear(graph, x, 32, 1), linear(graph, x, 32, 3)))
    graph.output("y", linear(graph, y, 8, 5))
    return graph


def gate() -> Graph:
    """Channels scaled by what a small network makes of their means."""
    graph, x = graph_with_input()
    y = graph.add(Silu(), linear(graph, x, 32, 1))
    gates = graph.add(Sigmoid(), linear(graph, graph.add(ReduceMean((1, 2), True), y), 32, 3))
    graph.output("y", linear(graph, graph.add(Mul(), y, gates), 8, 5))
    return graph


def dense() -> Graph:
    """Two layers side by side, of which two others take sums: what is stored is the concatenation."""
    graph, x = graph_with_input()
    parts = graph.add(Concat(3), linear(graph, x, 16, 1), linear(graph, x, 32, 3))
    pooled = graph.add(MaxPool2d((3, 3), (1, 1), (1, 1, 1, 1)), parts)
    shifted = [graph.add(Add(), value, graph.constant(normal(48, 1, seed=7)[:, 0])) for value in (parts, pooled)]
    first, second = (linear(graph, graph.add(Relu(), value), 8, 9) for value in shifted)
    graph.output("y", graph.add(Add(), first, second))
    return graph


def lowered(build: Callable[[], Graph], precision: str) -> Graph:
    graph = build()
    lower_precision(graph, precision, [IMAGES] if precision.startswith("qint8") else None)
    return graph


@pytest.mark.parametrize("precision", ["force_bfloat16", "qint8_mixed_bfloat16"])
@pytest.mark.parametrize(("build", "wide"), [(shortcut, 1), (gate, 3), (dense, 2)])
def test_what_is_rounded_soon_is_stored_in_bfloat16(
    build: Callable[[], Graph],
    wide: int,
    precision: str,
    every_target: CpuTarget,  # noqa: F811
    compiled: Callable[..., Compiled],  # noqa: F811
) -> None:
    graph = lowered(build, precision)
    assert 1e-4 < error(graph, build(), IMAGES) < (0.02 if precision == "force_bfloat16" else 0.06)
    pack_weights(graph, every_target)
    program = compiled(graph, every_target)
    result = run(program, [IMAGES])
    for got, expected in zip(result.outputs, result.expected, strict=True):
        np.testing.assert_allclose(got, expected, rtol=0.02, atol=0.03 * np.abs(expected).max())
    floats = [step.shape for step in program.program.steps if step.shape.startswith("f32")]
    assert len(floats) == wide
    assert set(floats) <= {"f32[N,6,6,8]", "f32[N,1,1,32]"}, "the last layers, and means and gates"
    assert not {"cast", "copy", "relu", "quantize"} & {
        step.label for step in program.program.steps[1:] if "6,6" in step.shape
    }


@pytest.mark.parametrize(
    "use",
    [
        lambda graph, y: graph.output("y", y),
        lambda graph, y: linear(
            graph, graph.add(LayerNorm(1e-5), y, *(graph.constant(normal(32, 1)[:, 0]),) * 2), 8, 3
        ),
        lambda graph, y: linear(graph, graph.add(Exp(), y), 8, 3),
        lambda graph, y: graph.add(Add(), y, graph.constant(normal(32, 1)[:, 0])),
    ],
    ids=["output", "layer norm", "exp", "sum that is an output"],
)
def test_what_is_not_rounded_soon_stays(use: Callable[[Graph, Value], Value | None]) -> None:
    graph, x = graph_with_input()
    y = linear(graph, x, 32, 1)
    made = use(graph, y)
    if made is not None:
        graph.output("y", made)
    graph.output("z", linear(graph, graph.add(Relu(), y), 8, 5))
    use_bfloat16(graph)
    before = [node.op for node in graph.nodes]
    store_bfloat16(graph, narrowable_outputs(graph))
    assert [node.op for node in graph.nodes] == before


def test_a_product_with_one_number_a_channel_keeps_that_number() -> None:
    graph = lowered(gate, "force_bfloat16")
    (scaled,) = (node for node in graph.nodes if isinstance(node.op, Mul))
    assert [value.producer.op.name for value in scaled.inputs] == ["cast", "sigmoid"]
