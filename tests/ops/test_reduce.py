"""Reductions against PyTorch in float64 and ONNX's rule for none to reduce."""

import numpy as np
import pytest
import torch

from alula.ops.reduce import ReduceMax, ReduceMean, ReduceMin, ReduceSum, Reduction
from tests.ops.cases import infer, refusal

TORCH = {ReduceSum: torch.sum, ReduceMean: torch.mean, ReduceMax: torch.amax, ReduceMin: torch.amin}


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axes", [(0,), (2,), (0, 2), (1, 2), (0, 1, 2)])
@pytest.mark.parametrize("op", TORCH)
def test_against_pytorch(op: type[Reduction], axes: tuple[int, ...], keepdims: bool) -> None:
    x = np.random.default_rng(0).standard_normal((5, 3, 700)).astype(np.float32)
    wanted = TORCH[op](torch.from_numpy(x).double(), axes, keepdim=keepdims).float().numpy()
    got = op(axes, keepdims).reference(x)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted, rtol=1.2e-7)


def test_sums_are_rounded_once() -> None:
    x = np.full(1 << 16, 0.1, np.float32)
    assert ReduceSum((0,)).reference(x) == np.float32(float(np.float32(0.1)) * (1 << 16))
    x = np.array([1e8, 1, -1e8], np.float32)
    assert ReduceSum((0,)).reference(x) == 1


def test_no_axes_keep_every_element() -> None:
    x = np.array([[1.5, -2.0]], np.float32)
    for op in TORCH:
        assert np.array_equal(op(()).reference(x), x)


def test_integers_wrap_and_nan_wins() -> None:
    assert ReduceSum((0,)).reference(np.array([200, 100], np.uint8)) == 44
    assert ReduceSum((0,)).reference(np.array([200, 100], np.uint8)).dtype == np.uint8
    for op in (ReduceMax, ReduceMin, ReduceSum, ReduceMean):
        assert np.isnan(op((0,)).reference(np.array([1, np.nan, 2], np.float32)))


def test_of_none() -> None:
    none = np.zeros((2, 0), np.float32)
    assert np.array_equal(ReduceSum((1,)).reference(none), [0, 0])
    assert np.isnan(ReduceMean((1,)).reference(none)).all()
    assert np.array_equal(ReduceMax((1,)).reference(none), [-np.inf] * 2)
    assert np.array_equal(ReduceMin((1,)).reference(none), [np.inf] * 2)
    assert ReduceMax((0,)).reference(np.zeros(0, np.int8)) == -128
    assert ReduceMin((0,)).reference(np.zeros(0, np.uint8)) == 255


def test_inferred_types() -> None:
    assert infer(ReduceSum((1, 2)), "f32[N,2,3]") == "f32[N]"
    assert infer(ReduceSum((1, 2), True), "f32[N,2,3]") == "f32[N,1,1]"
    assert infer(ReduceMax((0,)), "u8[N]") == "u8[]"
    assert infer(ReduceMean(()), "f16[]") == "f16[]"


def test_refusals() -> None:
    assert refusal(ReduceSum((3,)), "f32[N,2,3]") == "expected an axis of 0..2, got 3 for f32[N,2,3]"
    assert "expected an axis" in refusal(ReduceSum((-1,)), "f32[2]")
    assert refusal(ReduceSum((1, 0)), "f32[2,3]") == "expected ascending axes, got (1, 0)"
    assert refusal(ReduceSum((1, 1)), "f32[2,3]") == "expected ascending axes, got (1, 1)"
    assert "got bool[2]" in refusal(ReduceMax((0,)), "bool[2]")
    assert "got i32[2]" in refusal(ReduceMean((0,)), "i32[2]")
