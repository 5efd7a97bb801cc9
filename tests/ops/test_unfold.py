"""Unfold and fold against PyTorch's, which are channels first and flatten the windows."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alula.ops.unfold import Fold, Unfold
from alula.ops.windows import window_counts
from tests.ops.cases import infer, refusal

RANDOM = np.random.default_rng(0)
SETTINGS = [  # size, kernel, stride, pad, dilation, as PyTorch takes them
    ((7, 6), (3, 3), (1, 1), (1, 1), (1, 1)),
    ((28, 28), (3, 3), (2, 2), (1, 1), (1, 1)),
    ((7, 8), (2, 3), (3, 1), (0, 2), (1, 1)),
    ((9, 9), (3, 2), (2, 1), (2, 1), (2, 3)),
    ((5, 4), (1, 1), (2, 3), (0, 0), (1, 1)),
]


@pytest.mark.parametrize(("size", "kernel", "stride", "pad", "dilation"), SETTINGS)
def test_against_pytorch(size, kernel, stride, pad, dilation) -> None:
    pads, places = pad * 2, kernel[0] * kernel[1]
    oh, ow = window_counts(*size, kernel, stride, pads, dilation)
    x = RANDOM.standard_normal((2, *size, 3)).astype(np.float32)
    flat = F.unfold(torch.from_numpy(x).permute(0, 3, 1, 2), kernel, dilation, pad, stride)
    wanted = flat.reshape(2, 3, places, oh, ow).permute(0, 3, 4, 2, 1)
    assert np.array_equal(Unfold(kernel, stride, pads, dilation).reference(x), wanted.numpy())

    y = RANDOM.standard_normal((2, oh, ow, places, 3)).astype(np.float32)
    flat = torch.from_numpy(y).double().permute(0, 4, 3, 1, 2).reshape(2, 3 * places, oh * ow)
    wanted = F.fold(flat, size, kernel, dilation, pad, stride).permute(0, 2, 3, 1)
    got = Fold(size, kernel, stride, pads, dilation).reference(y)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1.2e-7, atol=1e-9)


def test_asymmetric_padding_and_transposition() -> None:
    """<unfold(x), y> = <x, fold(y)>: fold is unfold's transpose, for pads that PyTorch does not take too."""
    settings = {"kernel": (3, 2), "stride": (2, 1), "pad": (0, 1, 2, 0), "dilation": (1, 2)}
    x = RANDOM.standard_normal((1, 6, 5, 2))
    unfolded = Unfold(**settings).reference(x)
    y = RANDOM.standard_normal(unfolded.shape)
    np.testing.assert_allclose((unfolded * y).sum(), (x * Fold((6, 5), **settings).reference(y)).sum(), rtol=1e-12)


def test_inferred_types() -> None:
    assert infer(Unfold((3, 3), (2, 2), (1, 1, 1, 1)), "u8[N,28,H,6]") == "u8[N,14,((H+1)//2),9,6]"
    assert infer(Fold((28, 28), (3, 3), (2, 2), (1, 1, 1, 1)), "f32[N,14,14,9,6]") == "f32[N,28,28,6]"


def test_refusals() -> None:
    unfold = Unfold((3, 3), (2, 2), (1, 1, 1, 1))
    assert refusal(unfold, "f32[28,28,6]") == "expected rank 4 (n,h,w,c), got f32[28,28,6]"
    assert "got bool[1,3,3,1]" in refusal(unfold, "bool[1,3,3,1]")
    fold = Fold((28, 28), (3, 3), (2, 2), (1, 1, 1, 1))
    assert refusal(fold, "f32[N,14,13,9,6]") == "expected x[n,14,14,9,c], got f32[N,14,13,9,6]"
    assert refusal(fold, "f32[N,14,14,8,6]") == "expected x[n,14,14,9,c], got f32[N,14,14,8,6]"
    assert refusal(fold, "f32[N,14,14,54]") == "expected rank 5 (n,h,w,k,c), got f32[N,14,14,54]"
    assert "got i32" in refusal(fold, "i32[N,14,14,9,6]")
    negative = Fold((-1, 3), (1, 1), (2, 1), (0, 0, 0, 0))
    assert "within the padded size" in refusal(Fold((-2, 3), (1, 1), (1, 1), (0, 0, 0, 0)), "f32[1,0,3,1,1]")
    assert "expected dimensions of 0.." in refusal(negative, "f32[1,0,3,1,1]")
