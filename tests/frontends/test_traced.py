"""What a source model's own framework makes of inputs, value by value, belongs to the graph's values."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from torch import nn

from alula.frontends.onnx.traced import traced_onnx
from alula.frontends.torch.export import export_program, save_program
from alula.frontends.torch.traced import traced_torch
from alula.frontends.traced import Traced
from alula.ops.reference import reference_values
from tests.frontends.onnx.models import normal


def check(traced: Traced, x: np.ndarray, names: list[str]) -> None:
    expected = dict(reference_values(traced.graph, [x]))
    found = list(traced.values([x]))
    assert [value.producer.op.name for value, _ in found] == names
    assert {value for value, _ in found} == traced.known
    for value, array in found:
        np.testing.assert_allclose(array, expected[value], rtol=1e-4, atol=1e-5)


class Split(nn.Module):
    """Weights, a buffer, sizes of the batch, and an operator with several results."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 8)
        self.register_buffer("shift", torch.full((8,), 0.5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a, b = torch.split(self.linear(x) + self.shift, 4, dim=1)
        return torch.relu(a).reshape(x.shape[0], 2, 2) * b.reshape(x.shape[0], 2, 2)


def test_torch(tmp_path: Path) -> None:
    save_program(export_program(Split(), (torch.zeros(2, 6),)), tmp_path / "m.pt2", {})
    check(
        traced_torch(tmp_path / "m.pt2"),
        normal(3, 6),
        ["linear", "add", "slice", "slice", "relu", "reshape", "reshape", "mul"],
    )


@pytest.mark.parametrize("part_bytes", [1, 1 << 20])
def test_onnx(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part_bytes: int) -> None:
    monkeypatch.setattr("alula.ir.parts.in_parts.__defaults__", (part_bytes,))
    weight = onnx.numpy_helper.from_array(normal(6, 8), "w")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"]),
        helper.make_node("Identity", ["a"], ["b"]),
        helper.make_node("Split", ["b"], ["c", "d"], axis=1),
        helper.make_node("Mul", ["c", "d"], ["e"]),
        helper.make_node("Softmax", ["e"], ["y"], axis=1),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", k]) for name, k in (("x", 6), ("y", 4))]
    graph = helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=9), tmp_path / "m.onnx")
    traced = traced_onnx(tmp_path / "m.onnx")
    assert traced.framework.startswith("ONNX Runtime ")
    check(
        traced,
        normal(3, 6),
        [value.producer.op.name for node in traced.graph.nodes for value in node.outputs if value in traced.known],
    )
    assert {"slice", "mul"} < {value.producer.op.name for value in traced.known}
