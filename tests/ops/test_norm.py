"""Normalisation against PyTorch in float64."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alula.ops.norm import BatchNorm, LayerNorm
from tests.ops.cases import infer, refusal

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def double(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x).double()


@pytest.mark.parametrize("shape", [(5,), (3, 7), (2, 3, 384), (2, 0, 4)])
def test_layer_norm_against_pytorch(shape: tuple[int, ...]) -> None:
    x, gamma, beta = normal(*shape) * 100 + 1000, normal(shape[-1]), normal(shape[-1])
    wanted = F.layer_norm(double(x), shape[-1:], double(gamma), double(beta), 1e-5)
    got = LayerNorm(1e-5).reference(x, gamma, beta)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted.numpy(), rtol=2e-7, atol=1e-9)


def test_layer_norm_of_equal_elements_is_beta() -> None:
    beta = normal(4)
    assert np.array_equal(LayerNorm(1e-5).reference(np.full((2, 4), 7e4, np.float32), normal(4), beta), [beta, beta])


@pytest.mark.parametrize("shape", [(2, 5, 6, 3), (4, 3), (3,)])
def test_batch_norm_against_pytorch(shape: tuple[int, ...]) -> None:
    x, gamma, beta, mean, var = normal(*shape), normal(3), normal(3), normal(3), normal(3) ** 2
    rows = F.batch_norm(double(x).reshape(-1, 3), double(mean), double(var), double(gamma), double(beta), eps=1e-3)
    got = BatchNorm(1e-3).reference(x, gamma, beta, mean, var)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, rows.reshape(shape).numpy(), rtol=1.2e-7, atol=1e-9)


def test_inferred_types() -> None:
    assert infer(LayerNorm(1e-5), "bf16[N,196,384]", "bf16[384]", "bf16[384]") == "bf16[N,196,384]"
    assert infer(BatchNorm(1e-5), "f32[N,H,W,3]", *["f32[3]"] * 4) == "f32[N,H,W,3]"


def test_refusals() -> None:
    assert refusal(LayerNorm(1e-5), "f32[2,4]", "f32[4]", "f32[3]") == "expected beta[4], got f32[3]"
    assert refusal(LayerNorm(1e-5), "f32[2,4]", "f32[2,4]", "f32[4]") == "expected gamma[4], got f32[2,4]"
    assert refusal(LayerNorm(1e-5), "f32[]", "f32[4]", "f32[4]") == "expected rank 1 or more, got f32[]"
    assert refusal(LayerNorm(1e-5), "f32[4]", "f16[4]", "f32[4]") == "expected f32, got f16[4]"
    assert refusal(LayerNorm(-1.0), "f32[4]", "f32[4]", "f32[4]") == "expected a finite eps >= 0, got -1.0"
    assert refusal(LayerNorm(math.inf), "f32[4]", "f32[4]", "f32[4]") == "expected a finite eps >= 0, got inf"
    assert "got i32[4]" in refusal(LayerNorm(0.0), "i32[4]", "i32[4]", "i32[4]")
    assert refusal(BatchNorm(1e-5), "f32[2,4]", *["f32[4]"] * 3) == "expected 5 operands, got 4"
    vectors = ["f32[4]", "f32[4]", "f32[4]", "f32[1]"]
    assert refusal(BatchNorm(1e-5), "f32[2,4]", *vectors) == "expected var[4], got f32[1]"
