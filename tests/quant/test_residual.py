"""A small residual network in every low precision: between its blocks nothing is stored in float32."""

from collections.abc import Callable

import numpy as np
import pytest

from alula.codegen.packing import pack_weights
from alula.compiler import lower_precision
from alula.core.dtype import DType
from alula.core.target import CpuTarget
from alula.ir.graph import Graph, Value
from alula.ir.types import TensorType
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Add, Relu
from alula.ops.matmul import Linear
from alula.ops.pool import MaxPool2d
from alula.ops.quantize import Quantize
from alula.ops.reduce import ReduceMean
from alula.ops.reference import run_reference
from tests.codegen.conftest import compiled, every_target  # noqa: F401  fixtures
from tests.codegen.harness import Compiled, run
from tests.quant.networks import SCALE, SHIFT, N, error, normal, ops, pictures

CONVOLUTIONS = ("conv2d", "winograd")  # how the labels of their kernels begin
PRECISIONS = ["force_bfloat16", "qint8_mixed_float32", "qint8_mixed_bfloat16"]


def conv(graph: Graph, x: Value, features: int, kernel: int, stride: int = 1, **attributes: object) -> Value:
    pad = (kernel // 2,) * 4
    seed = 100 + len(graph.nodes)
    weight = 1.5 * normal(features, kernel, kernel, x.type.shape[-1], seed=seed)
    constants = [graph.constant(weight), graph.constant(0.1 * normal(features, seed=seed))]
    return graph.add(Conv2d((stride, stride), pad, **attributes), x, *constants)


def block(graph: Graph, x: Value, features: int, stride: int = 1) -> Value:
    """Two convolutions beside a shortcut, which has one of its own where the size changes."""
    y = conv(graph, graph.add(Relu(), conv(graph, x, features, 3, stride)), features, 3)
    shortcut = x if stride == 1 else conv(graph, x, features, 1, stride)
    return graph.add(Relu(), graph.add(Add(), y, shortcut))


def residual() -> Graph:
    """Pixels, a maximum of windows, three blocks, a mean and a layer that names the class."""
    graph = Graph("residual", {"N": (1, 64)})
    x = graph.input("x", TensorType(DType.U8, (N, 16, 16, 3)))
    y = graph.add(Relu(), conv(graph, x, 16, 3, scale=SCALE, shift=SHIFT))
    y = graph.add(MaxPool2d((3, 3), (2, 2), (1, 1, 1, 1)), y)
    y = block(graph, block(graph, y, 16), 16)
    y = block(graph, y, 32, 2)
    mean = graph.add(ReduceMean((1, 2)), y)
    graph.output("y", graph.add(Linear(), mean, graph.constant(normal(10, 32, seed=1))))
    return graph


def lowered(precision: str) -> Graph:
    graph = residual()
    lower_precision(graph, precision, [pictures(16, seed=1)] if precision.startswith("qint8") else None)
    return graph


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_result_moves_a_little(precision: str) -> None:
    """A mean of random features is small beside them, and with it all that counts."""
    worst = 0.02 if precision == "force_bfloat16" else 0.1
    assert 1e-4 < error(lowered(precision), residual(), pictures(6)) < worst


@pytest.mark.parametrize("precision", PRECISIONS)
def test_blocks_read_and_write_narrow_elements(
    precision: str,
    every_target: CpuTarget,  # noqa: F811
    compiled: Callable[..., Compiled],  # noqa: F811
) -> None:
    graph = lowered(precision)
    pack_weights(graph, every_target)
    program = compiled(graph, every_target)
    result = run(program, [pictures(5)])
    np.testing.assert_allclose(result.outputs[0], result.expected[0], rtol=0.02, atol=0.02)
    steps = [step for step in program.program.steps if step.label not in ("pad", "copy")]
    narrow = "bf16" if precision == "force_bfloat16" else "u8"
    last = max(n for n, step in enumerate(steps) if step.label.startswith(CONVOLUTIONS))
    assert [step.shape.partition("[")[0] for step in steps[: last - 1]] == [narrow] * (last - 1)
    assert steps[1].label == "max_pool2d"
    assert not {"dequantize", "cast", "quantize", "relu", "add"} & {step.label for step in steps[:last]}
    assert sum(step.label.startswith(CONVOLUTIONS) for step in steps) == 8


def test_zero_is_the_least_byte_and_bounds_are_absorbed() -> None:
    graph = lowered("qint8_mixed_float32")
    assert {node.op.zero for node in graph.nodes if isinstance(node.op, Quantize)} == {0}
    assert ops(graph).count("relu") == 1  # the last, of which a mean is taken
    assert ops(graph).count("dequantize") == 2
    (pool,) = (node for node in graph.nodes if isinstance(node.op, MaxPool2d))
    assert pool.output.type.dtype is DType.U8


def test_bfloat16_shortcuts_are_what_the_convolution_reads() -> None:
    graph = lowered("force_bfloat16")
    (pool,) = (node for node in graph.nodes if isinstance(node.op, MaxPool2d))
    assert pool.output.type.dtype is DType.BF16
    sums = [node for node in graph.nodes if isinstance(node.op, Add)]
    made_by = [[value.producer.op.name for value in node.inputs] for node in sums]
    assert made_by == [["conv2d", "cast"], ["conv2d", "cast"], ["cast", "conv2d"]]  # the last shortcut runs last
    for node in sums[:2]:
        stored = node.inputs[1].producer.inputs[0]
        assert {user.op.name for user in stored.uses} == {"cast", "conv2d"}


def test_the_reference_runs_it() -> None:
    (y,) = run_reference(lowered("qint8_mixed_float32"), [pictures(2)])
    assert y.shape == (2, 10)
