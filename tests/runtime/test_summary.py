from pathlib import Path

import numpy as np
import pytest

import alula
from alula.codegen.program import StepInfo
from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.elementwise import Relu
from alula.ops.matmul import Linear
from alula.runtime.host import default_threads
from alula.runtime.summary import int8_mac_fraction, kernels, summary


def step(label: str, macs: int, arithmetic: str = "f32", byte_macs: int = 0) -> StepInfo:
    return StepInfo(label, "k", "f32[N,8]", macs, arithmetic, byte_macs, 100)


def test_share_of_multiply_adds_in_bytes() -> None:
    assert int8_mac_fraction([]) == int8_mac_fraction([step("relu", 0)]) == 0.0
    steps = [step("linear", 100), step("linear", 200, "int8", 200), step("attention", 100, "bf16", 50)]
    assert int8_mac_fraction(steps) == pytest.approx(250 / 400)


def test_kernels_of_one_label_are_told_apart_by_arithmetic() -> None:
    steps = [step("linear", 1), step("linear", 2, "bf16"), step("linear", 4), step("relu", 0)]
    assert kernels(steps) == [
        {"label": "linear", "arithmetic": "f32", "count": 2, "macs": 5},
        {"label": "linear", "arithmetic": "bf16", "count": 1, "macs": 2},
        {"label": "relu", "arithmetic": "f32", "count": 1, "macs": 0},
    ]


def saved(path: Path, precision: str) -> Path:
    """x[N,64] -> two linear layers of 64 x 64, and one of 64 x 3 whose rows are no whole words at its end."""
    random = np.random.default_rng(0)
    graph = Graph("small", {"N": (1, 8)})
    x = graph.input("x", TensorType(DType.F32, (symbol("N"), 64)))
    for features in (64, 3, 5):
        weight = random.normal(0, 0.1, (features, x.type.shape[1])).astype(np.float32)
        x = graph.add(Relu(), graph.add(Linear(), x, graph.constant(weight)))
    graph.output("y", x)
    alula.build(graph, alula.BuildConfig(precision=precision)).save(path)
    return path


@pytest.mark.parametrize(
    ("precision", "fraction", "linear"),
    [
        ("force_float32", 0.0, ["f32", "f32", "f32"]),
        ("force_bfloat16", 0.0, ["bf16", "bf16", "f32"]),
        ("qint8_mixed_float32", (64 * 64 + 64 * 3) / (64 * 64 + 64 * 3 + 15), ["int8", "int8", "f32"]),
    ],
)
def test_precision_of_the_program_and_of_every_op(
    tmp_path: Path, precision: str, fraction: float, linear: list[str]
) -> None:
    found = summary(saved(tmp_path / "m.alula", precision))
    assert found["int8_mac_fraction"] == pytest.approx(fraction)
    assert [op["precision"] for op in found["ops"] if op["op"] == "linear"] == linear
    assert {op["precision"] for op in found["ops"] if op["op"] == "relu"} <= {"f32", "bf16"}
    assert (found["threads"], found["threads_why"]) == default_threads()
    assert found["precision"] == precision
    assert sum(kernel["macs"] for kernel in found["kernels"]) == found["macs"] == 64 * 64 + 64 * 3 + 15
