"""Convolution against PyTorch in float64; packed weights and folded normalisation against the plain way."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alula.core.dims import symbol
from alula.ir.op import infer_types
from alula.ir.parser import parse_type
from alula.ops.conv import Conv2d
from tests.ops.cases import infer, refusal
from tests.ops.test_matmul import packed

RANDOM = np.random.default_rng(0)
SETTINGS = [
    {},
    {"stride": (2, 1)},
    {"pad": (1, 1, 1, 1)},
    {"stride": (2, 2), "pad": (1, 0, 1, 0), "groups": 2},
    {"dilation": (2, 1), "pad": (2, 1, 2, 1), "groups": 4},
    {"stride": (3, 2), "dilation": (1, 2), "pad": (0, 3, 0, 3)},
]


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def torch_conv(x: np.ndarray, w: np.ndarray, bias: np.ndarray | None, op: Conv2d) -> np.ndarray:
    top, left, bottom, right = op.pad
    image = F.pad(torch.from_numpy(x).double().permute(0, 3, 1, 2), (left, right, top, bottom))
    y = F.conv2d(
        image,
        torch.from_numpy(w).double().permute(0, 3, 1, 2),
        None if bias is None else torch.from_numpy(bias).double(),
        op.stride,
        0,
        op.dilation,
        op.groups,
    )
    return y.permute(0, 2, 3, 1).numpy()


def packed_groups(w: np.ndarray, groups: int, panel: int) -> np.ndarray:
    """w[o,kh,kw,c] -> [groups,panels,kh*kw*c,panel]."""
    return np.stack([packed(part.reshape(len(part), -1), panel) for part in np.split(w, groups)])


@pytest.mark.parametrize("attributes", SETTINGS, ids=str)
@pytest.mark.parametrize("with_bias", [False, True])
def test_against_pytorch(attributes: dict[str, object], with_bias: bool) -> None:
    op = Conv2d(**attributes)
    x, w = normal(2, 9, 8, 4), normal(8, 3, 3, 4 // op.groups)
    bias = [normal(8)] if with_bias else []
    got = op.reference(x, w, *bias)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, torch_conv(x, w, bias[0] if bias else None, op), rtol=1.2e-7, atol=1e-9)
    for panel in (1, 3, 16):
        tight = Conv2d(**attributes, features=8, kernel=(3, 3), panel=panel)
        assert np.array_equal(tight.reference(x, packed_groups(w, op.groups, panel), *bias), got)


def test_asymmetric_padding() -> None:
    op = Conv2d(pad=(0, 1, 2, 0))
    x, w = normal(1, 4, 5, 2), normal(3, 3, 2, 2)
    np.testing.assert_allclose(op.reference(x, w), torch_conv(x, w, None, op), rtol=1.2e-7, atol=1e-9)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_normalised_input_is_padded_with_zeros_afterwards(dtype: type) -> None:
    pixels = RANDOM.integers(0, 256, (1, 6, 6, 3)).astype(dtype)
    scale, shift = (0.5, 0.25, 2.0), (-1.0, 3.0, 0.5)
    op = Conv2d(stride=(2, 2), pad=(1, 1, 1, 1), scale=scale, shift=shift)
    w = normal(4, 3, 3, 3)
    got = op.reference(pixels, w)
    assert got.dtype == np.float32
    wanted = torch_conv(pixels * np.array(scale) + np.array(shift), w, None, op)
    np.testing.assert_allclose(got, wanted, rtol=1.2e-7, atol=1e-9)


def test_inferred_types() -> None:
    assert infer(Conv2d(), "f32[N,9,8,4]", "f32[5,3,2,4]") == "f32[N,7,7,5]"
    assert infer(Conv2d(), "f32[1,8,8,4]", "f16[5,3,3,4]", "f32[5]") == "f32[1,6,6,5]"
    assert infer(Conv2d(stride=(2, 2)), "f16[1,H,8,4]", "f16[5,3,3,4]", "f16[5]") == "f16[1,((H+1)//2)+-1,3,5]"
    assert infer(Conv2d(groups=4), "f32[0,3,3,4]", "f32[8,1,1,1]") == "f32[0,3,3,8]"
    assert infer(Conv2d(scale=(1.0,), shift=(0.0,)), "u8[N,3,3,1]", "f32[8,1,1,1]") == "f32[N,3,3,8]"
    assert infer(Conv2d(groups=2, features=6, kernel=(1, 2), panel=2), "f32[N,3,3,4]", "f32[2,2,4,2]") == "f32[N,3,2,6]"


def test_macs() -> None:
    x, w = parse_type("f32[N,9,9,4]"), parse_type("f32[6,3,3,2]")
    op = Conv2d(groups=2)
    assert op.macs([x, w], infer_types(op, [x, w])) == symbol("N") * (7 * 7 * 6) * (3 * 3 * 2)
    tight, w = Conv2d(groups=2, features=6, kernel=(3, 3), panel=4), parse_type("f32[2,1,18,4]")
    assert tight.macs([x, w], infer_types(tight, [x, w])) == symbol("N") * (7 * 7 * 6) * (3 * 3 * 2)


X, W = "f32[N,9,8,4]", "f32[6,3,3,4]"


@pytest.mark.parametrize(
    ("attributes", "operands", "message"),
    [
        ({}, ["f32[9,8,4]", W], "expected rank 4 (n,h,w,c), got f32[9,8,4]"),
        ({}, [X, "f32[6,3,4]"], "expected rank 4 (o,h,w,c), got f32[6,3,4]"),
        ({}, [X, "f32[6,3,3,3]"], "expected w[6,3,3,4], got f32[6,3,3,3]"),
        ({"groups": 2}, [X, W], "expected w[6,3,3,2], got f32[6,3,3,4]"),
        ({"groups": 3}, [X, W], "expected groups that divide the 4 channels, got 3"),
        ({"groups": 0}, [X, W], "expected groups that divide the 4 channels, got 0"),
        ({"groups": -1}, [X, W], "expected groups that divide the 4 channels, got -1"),
        ({"groups": 4}, [X, "f32[6,3,3,1]"], "expected groups that divide the 6 features, got 4"),
        ({}, [X, W, "f32[5]"], "expected bias[6], got f32[5]"),
        ({}, [X, W, "f16[6]"], "expected f32, got f16[6]"),
        ({}, ["u8[N,9,8,4]", W], "expected f32, got u8[N,9,8,4]"),
        ({}, ["f32[N,9,8,C]", W], "expected a fixed channel count, got C"),
        ({}, [X, "f32[6,K,3,4]"], "expected a fixed weight shape, got K"),
        ({"stride": (0, 1)}, [X, W], "expected stride of 1..1048575, got (0, 1)"),
        ({"dilation": (1, -1)}, [X, W], "expected dilation of 1..1048575, got (1, -1)"),
        ({}, [X, "f32[6,0,3,4]"], "expected kernel of 1..1048575, got (0, 3)"),
        (
            {"pad": (3, 0, 0, 0)},
            [X, W],
            "expected pad of 0 or more and smaller than the kernel's reach (3, 3), got (3, 0, 0, 0)",
        ),
        (
            {"pad": (0, 0, 0, -1)},
            [X, W],
            "expected pad of 0 or more and smaller than the kernel's reach (3, 3), got (0, 0, 0, -1)",
        ),
        (
            {"dilation": (5, 1)},
            [X, W],
            "expected a kernel's reach (11, 3) within the padded size, got 9x8 with pad (0, 0, 0, 0)",
        ),
        ({"scale": (1.0,) * 4}, [X, W], "expected 0 or 4 scales and shifts, got 4 and 0"),
        ({"scale": (1.0,), "shift": (1.0,)}, [X, W], "expected 0 or 4 scales and shifts, got 1 and 1"),
        ({"scale": (1.0,) * 4, "shift": (1.0,) * 4}, ["i32[N,9,8,4]", W], "expected f32, got i32[N,9,8,4]"),
        ({"kernel": (3, 3)}, [X, W], "expected kernel (0, 0) for a weight that is not packed, got (3, 3)"),
        ({"panel": 4}, [X, W], "expected features and panel both positive or both 0, got 0 and 4"),
        (
            {"panel": 4, "features": 6, "kernel": (3, 3)},
            [X, "f32[1,1,36,4]"],
            "expected packed w[1,2,36,4], got f32[1,1,36,4]",
        ),
        (
            {"panel": 4, "features": 6, "kernel": (0, 3)},
            [X, "f32[1,2,0,4]"],
            "expected kernel of 1..1048575, got (0, 3)",
        ),
        (
            {"panel": 4, "features": 7, "kernel": (3, 3), "groups": 2},
            [X, "f32[2,1,18,4]"],
            "expected groups that divide the 7 features, got 2",
        ),
    ],
    ids=str,
)
def test_refusals(attributes: dict[str, object], operands: list[str], message: str) -> None:
    assert refusal(Conv2d(**attributes), *operands) == message
