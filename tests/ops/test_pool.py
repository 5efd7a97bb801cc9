"""Pooling against PyTorch, ceil_mode and the divisor of an overhanging mean among it."""

from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alula.ops.pool import AvgPool2d, MaxPool2d
from tests.ops.cases import infer, refusal

RANDOM = np.random.default_rng(0)
SETTINGS = [
    (kernel, stride, pad, ceil_mode)
    for kernel, stride, pad, ceil_mode in product([1, 2, 3], [1, 2, 3], [0, 1], [False, True])
    if pad * 2 <= kernel  # what PyTorch takes
]


def nchw(x: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(x).permute(0, 3, 1, 2)


def nhwc(x: torch.Tensor) -> np.ndarray:
    return x.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize(("kernel", "stride", "pad", "ceil_mode"), SETTINGS)
@pytest.mark.parametrize("size", [(3, 4), (7, 8), (9, 5)])
def test_against_pytorch(kernel: int, stride: int, pad: int, ceil_mode: bool, size: tuple[int, int]) -> None:
    x = RANDOM.standard_normal((2, *size, 3)).astype(np.float32)
    pads = (pad,) * 4
    wanted = F.max_pool2d(nchw(x), kernel, stride, pad, ceil_mode=ceil_mode)
    got = MaxPool2d((kernel, kernel), (stride, stride), pads, ceil_mode).reference(x)
    assert np.array_equal(got, nhwc(wanted))
    for counted in (True, False):
        wanted = F.avg_pool2d(nchw(x).double(), kernel, stride, pad, ceil_mode, counted)
        got = AvgPool2d((kernel, kernel), (stride, stride), pads, ceil_mode, counted).reference(x)
        assert got.dtype == np.float32
        np.testing.assert_allclose(got, nhwc(wanted), rtol=1.2e-7, atol=1e-9)


def test_asymmetric_padding_never_wins_and_counts_if_asked() -> None:
    x = -np.arange(1, 13, dtype=np.float32).reshape(1, 3, 4, 1)
    pads = (1, 0, 0, 1)
    framed = F.pad(nchw(x), (0, 1, 1, 0), value=-np.inf)
    assert np.array_equal(MaxPool2d((2, 2), (1, 1), pads).reference(x), nhwc(F.max_pool2d(framed, 2, 1)))
    framed = F.pad(nchw(x), (0, 1, 1, 0))
    assert np.array_equal(AvgPool2d((2, 2), (1, 1), pads).reference(x), nhwc(F.avg_pool2d(framed, 2, 1)))
    ones = F.avg_pool2d(F.pad(torch.ones(1, 1, 3, 4), (0, 1, 1, 0)), 2, 1)
    got = AvgPool2d((2, 2), (1, 1), pads, count_include_pad=False).reference(x)
    np.testing.assert_allclose(got, nhwc(F.avg_pool2d(framed, 2, 1) / ones), rtol=1e-6)


def test_integers_and_nan() -> None:
    x = np.array([-128, -5, -100, 7], np.int8).reshape(1, 2, 2, 1)
    assert MaxPool2d((2, 2), (1, 1), (1, 1, 1, 1)).reference(x)[0, :, :, 0].tolist() == [
        [-128, -5, -5],
        [-100, 7, 7],
        [-100, 7, 7],
    ]
    x = np.array([1, np.nan, 3, 4], np.float32).reshape(1, 2, 2, 1)
    assert np.isnan(MaxPool2d((2, 2), (1, 1)).reference(x)).all()


def test_inferred_types() -> None:
    assert infer(MaxPool2d((3, 3), (2, 2), (1, 1, 1, 1)), "f32[N,112,112,64]") == "f32[N,56,56,64]"
    assert infer(MaxPool2d((3, 3), (2, 2), ceil_mode=True), "f32[N,112,111,64]") == "f32[N,56,55,64]"
    assert infer(MaxPool2d((2, 2), (1, 1), ceil_mode=True), "u8[N,H,3,C]") == "u8[N,H+-1,2,C]"
    assert infer(AvgPool2d((2, 2), (2, 2)), "f32[N,H,3,4]") == "f32[N,((H)//2),1,4]"


def test_refusals() -> None:
    assert "expected rank 4 (n,h,w,c)" in refusal(MaxPool2d((2, 2), (2, 2)), "f32[2,3,4]")
    assert "got bool[1,2,2,1]" in refusal(MaxPool2d((2, 2), (2, 2)), "bool[1,2,2,1]")
    assert "got u8[1,2,2,1]" in refusal(AvgPool2d((2, 2), (2, 2)), "u8[1,2,2,1]")
    assert refusal(MaxPool2d((2, 2), (2, 0)), "f32[1,4,4,1]") == "expected stride of 1..1048575, got (2, 0)"
    assert refusal(MaxPool2d((0, 2), (2, 2)), "f32[1,4,4,1]") == "expected kernel of 1..1048575, got (0, 2)"
    assert "smaller than the kernel's reach (2, 2)" in refusal(MaxPool2d((2, 2), (2, 2), (0, 0, 2, 0)), "f32[1,4,4,1]")
    assert "within the padded size" in refusal(MaxPool2d((5, 5), (1, 1)), "f32[1,3,3,1]")
    symbolic = refusal(MaxPool2d((2, 2), (2, 2), ceil_mode=True), "f32[N,H,4,1]")
    assert symbolic == "expected a fixed size with ceil_mode, got H"
