"""Gather against ONNX Runtime's meaning of it, and what it makes of indices that are not there."""

import numpy as np

from alula.ops.gather import Gather
from tests.ops.cases import infer, refusal


def test_places() -> None:
    x = np.arange(24.0, dtype=np.float32).reshape(2, 4, 3)
    indices = np.array([[3, -4], [-1, 0]])
    assert np.array_equal(Gather(1).reference(x, indices), x[:, indices])
    assert np.array_equal(Gather(0).reference(x, np.array(-1)), x[-1])


def test_indices_outside_mean_the_nearest() -> None:
    x = np.array([10.0, 11.0, 12.0])
    indices = np.array([3, 99, -4, -(2**63), 2**63 - 1])
    assert Gather(0).reference(x, indices).tolist() == [12.0, 12.0, 10.0, 10.0, 12.0]


def test_types() -> None:
    assert infer(Gather(1), "u8[N,5,3]", "i32[2,N]") == "u8[N,2,N,3]"
    assert infer(Gather(0), "f32[5]", "i64[]") == "f32[]"


def test_refusals() -> None:
    assert refusal(Gather(2), "f32[N,5]", "i64[2]") == "expected an axis of 0..1, got 2 for f32[N,5]"
    assert refusal(Gather(0), "f32[5]", "u8[2]") == "expected i32 or i64, got u8[2]"
    assert refusal(Gather(0), "f32[0]", "i64[2]") == "expected an axis with elements, got f32[0]"
