"""Softmax against PyTorch in float64."""

import numpy as np
import pytest
import torch

from alula.ops.softmax import Softmax
from tests.ops.cases import infer, refusal


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("scale", [1, 100, 1e30])
def test_against_pytorch(axis: int, scale: float) -> None:
    x = (np.random.default_rng(0).standard_normal((3, 5, 33)) * scale).astype(np.float32)
    wanted = torch.softmax(torch.from_numpy(x).double(), axis).float().numpy()
    got = Softmax(axis).reference(x)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted, rtol=1.2e-7, atol=1e-37)


def test_infinities_and_nan_as_in_pytorch() -> None:
    inf, nan = np.inf, np.nan
    x = np.array([[0, -inf, 1], [-inf, -inf, -inf], [inf, 0, 1], [nan, 0, 1]], np.float32)
    np.testing.assert_allclose(Softmax(1).reference(x), torch.softmax(torch.from_numpy(x), 1).numpy(), rtol=1e-6)


def test_of_none_is_none() -> None:
    assert Softmax(1).reference(np.zeros((2, 0), np.float32)).shape == (2, 0)
    assert Softmax(1).reference(np.zeros((0, 2), np.float32)).shape == (0, 2)


def test_types() -> None:
    assert infer(Softmax(1), "bf16[N,1000]") == "bf16[N,1000]"
    assert refusal(Softmax(2), "f32[N,1000]") == "expected an axis of 0..1, got 2 for f32[N,1000]"
    assert "expected an axis" in refusal(Softmax(-1), "f32[2]")
    assert "expected an axis" in refusal(Softmax(0), "f32[]")
    assert "got i32[2]" in refusal(Softmax(0), "i32[2]")
