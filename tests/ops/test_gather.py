"""Gather, interpolation and scattering against PyTorch, and what they make of indices that are not there."""

import numpy as np
import pytest
import torch

from alula.ops.gather import Gather, Interpolate, Scatter
from tests.ops.cases import infer, refusal

RANDOM = np.random.default_rng(0)


def test_places() -> None:
    x = np.arange(24.0, dtype=np.float32).reshape(2, 4, 3)
    indices = np.array([[3, -4], [-1, 0]])
    assert np.array_equal(Gather(1).reference(x, indices), x[:, indices])
    assert np.array_equal(Gather(0).reference(x, np.array(-1)), x[-1])


def test_places_of_each_image() -> None:
    x = RANDOM.standard_normal((2, 3, 5, 4))
    indices = RANDOM.integers(-5, 5, (2, 3, 2))
    wanted = torch.gather(torch.from_numpy(x), 2, torch.from_numpy(indices % 5)[..., None].expand(2, 3, 2, 4))
    assert np.array_equal(Gather(2, batch=2).reference(x, indices), wanted.numpy())
    of_images = [image[:, places] for image, places in zip(x, indices[:, 0], strict=True)]
    assert np.array_equal(Gather(2, batch=1).reference(x, indices[:, 0]), of_images)


def test_indices_outside_mean_the_nearest() -> None:
    x = np.array([10.0, 11.0, 12.0])
    indices = np.array([3, 99, -4, -(2**63), 2**63 - 1])
    assert Gather(0).reference(x, indices).tolist() == [12.0, 12.0, 10.0, 10.0, 12.0]
    ones = np.ones(5)
    assert Interpolate(0).reference(x, indices[:, None], ones[:, None]).tolist() == [12.0, 12.0, 10.0, 10.0, 12.0]


def test_interpolation_is_a_bag_of_weighted_rows() -> None:
    x = RANDOM.standard_normal((7, 5)).astype(np.float32)
    indices, weights = RANDOM.integers(0, 7, (4, 3)), RANDOM.standard_normal((4, 3)).astype(np.float32)
    tensors = [torch.from_numpy(array) for array in (indices, x.astype(np.float64), weights.astype(np.float64))]
    wanted = torch.nn.functional.embedding_bag(*tensors[:2], per_sample_weights=tensors[2], mode="sum")
    np.testing.assert_allclose(Interpolate(0).reference(x, indices, weights), wanted.numpy(), rtol=1e-6)
    assert not Interpolate(0).reference(x, indices[:, :0], weights[:, :0]).any()


@pytest.mark.parametrize(("ours", "theirs"), [("add", "sum"), ("mul", "prod"), ("max", "amax"), ("min", "amin")])
def test_scattered_updates_are_combined(ours: str, theirs: str) -> None:
    x, updates = RANDOM.standard_normal((3, 5)), RANDOM.standard_normal((3, 9))
    indices = RANDOM.integers(0, 5, (3, 9))
    tensors = [torch.from_numpy(array) for array in (x, indices, updates)]
    wanted = tensors[0].scatter_reduce(1, *tensors[1:], reduce=theirs)
    np.testing.assert_allclose(Scatter(1, 1, ours).reference(x, indices, updates), wanted.numpy(), rtol=1e-12)


def test_the_last_of_several_updates_stays_and_those_outside_go_nowhere() -> None:
    x = np.arange(3)
    indices, updates = np.array([1, -1, 1, 3, -4]), np.array([10, 20, 30, 40, 50])
    assert Scatter(0).reference(x, indices, updates).tolist() == [0, 30, 20]


def test_types() -> None:
    assert infer(Gather(1), "u8[N,5,3]", "i32[2,N]") == "u8[N,2,N,3]"
    assert infer(Gather(0), "f32[5]", "i64[]") == "f32[]"
    assert infer(Gather(2, 1), "f32[N,4,5]", "i64[N,2,3]") == "f32[N,4,2,3]"
    assert infer(Interpolate(2, 1), "f32[N,4,5,6]", "i64[N,2,3]", "f32[N,2,3]") == "f32[N,4,2,6]"
    assert infer(Scatter(1), "u8[N,5,3]", "i32[2]", "u8[N,2,3]") == "u8[N,5,3]"


def test_refusals() -> None:
    assert refusal(Gather(2), "f32[N,5]", "i64[2]") == "expected an axis of 0..1, got 2 for f32[N,5]"
    assert refusal(Gather(0), "f32[5]", "u8[2]") == "expected i32 or i64, got u8[2]"
    assert refusal(Gather(0), "f32[0]", "i64[2]") == "expected an axis with elements, got f32[0]"
    assert refusal(Gather(0, 1), "f32[5]", "i64[5]") == "expected a batch of 0..0 axes, got 1"
    started = refusal(Gather(1, 1), "f32[N,5]", "i64[3,2]")
    assert started == "expected indices that start with the 1 first axes of f32[N,5], got i64[3,2]"
    assert refusal(Interpolate(0), "f32[5]", "i64[N]", "f32[N]") == (
        "expected indices with a fixed number of terms, got i64[N]"
    )
    assert refusal(Interpolate(0), "f32[5]", "i64[3,2]", "f32[3]") == "expected weights[3,2], got f32[3]"
    assert refusal(Scatter(0), "f32[5]", "i64[3]", "f32[2]") == "expected updates[3], got f32[2]"
    assert refusal(Scatter(0, 0, "mean"), "f32[5]", "i64[3]", "f32[3]") == (
        "expected a reduction of none, add, mul, max, min, got 'mean'"
    )
    assert "got bool[5]" in refusal(Scatter(0, 0, "add"), "bool[5]", "i64[3]", "bool[3]")
