"""Trigonometric and hyperbolic references against PyTorch in float64."""

import numpy as np
import pytest
import torch

from alula.ops.elementwise import Unary
from alula.ops.trigonometry import Acos, Acosh, Asin, Asinh, Atan, Atanh, Cos, Cosh, Sin, Sinh, Tan
from tests.ops.cases import refusal

TORCH = {
    Sin(): torch.sin,
    Cos(): torch.cos,
    Tan(): torch.tan,
    Asin(): torch.asin,
    Acos(): torch.acos,
    Atan(): torch.atan,
    Sinh(): torch.sinh,
    Cosh(): torch.cosh,
    Asinh(): torch.asinh,
    Acosh(): torch.acosh,
    Atanh(): torch.atanh,
}


@pytest.mark.parametrize("op", TORCH, ids=str)
def test_against_pytorch(op: Unary) -> None:
    x = np.concatenate([np.linspace(-3, 3, 1201), [np.nan, np.inf, -np.inf, 1e4, 100]]).astype(np.float32)
    wanted = TORCH[op](torch.from_numpy(x).double()).float().numpy()
    np.testing.assert_allclose(op.reference(x), wanted, rtol=1.2e-7, atol=1e-16)


def test_angles_that_mean_nothing() -> None:
    x = np.array([2.0**50, 2.0**51, -(2.0**51)], np.float32)
    for op in (Sin(), Cos(), Tan()):
        assert np.isnan(op.reference(x)).tolist() == [False, True, True]


def test_floats_alone() -> None:
    assert "got i32[2]" in refusal(Sin(), "i32[2]")
