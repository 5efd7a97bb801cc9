"""Convolution against PyTorch in float64; packed weights and folded normalisation against the plain way."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alula.core.dims import symbol
from alula.core.dtype import DType, from_bfloat16, to_bfloat16
from alula.ir.op import infer_types
from alula.ir.parser import parse_type
from alula.ir.types import TensorType
from alula.ops.conv import Conv2d
from alula.ops.matmul import group_of
from alula.ops.reference import apply_op
from tests.ops.cases import fill, infer, refusal
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


BORDERS = [(7, 200, 255), (0, 0, 1), ()]


@pytest.mark.parametrize("border", BORDERS, ids=str)
def test_bytes_are_exact_and_padded_with_the_border(border: tuple[int, ...]) -> None:
    x, w = RANDOM.integers(0, 256, (2, 6, 5, 3), np.uint8), RANDOM.integers(-128, 128, (4, 3, 2, 3), np.int8)
    x[0, :2], w[0] = 255, -128
    op = Conv2d(stride=(2, 1), pad=(1, 0, 2, 1), border=border)
    framed = np.empty((2, 9, 6, 3), np.int64)
    framed[:] = border or 0
    framed[:, 1:7, :5] = x
    wanted = np.zeros((2, 4, 5, 4), np.int64)
    for row, column in np.ndindex(3, 2):
        wanted += framed[:, row : row + 7 : 2, column : column + 5] @ w[:, row, column].astype(np.int64).T
    bias = np.array([1, -2, 3, 1 << 20], np.int32)
    got = op.reference(x, w, bias)
    assert got.dtype == np.int32
    assert np.array_equal(got, wanted + bias)
    without = replace(op, pad=(0, 0, 0, 0), border=())
    assert np.array_equal(without.reference(framed.astype(np.uint8), w, bias), got)


@pytest.mark.parametrize(("groups", "c"), [(1, 1), (1, 3), (2, 8), (1, 5)])
@pytest.mark.parametrize("dtype", [DType.BF16, DType.I8], ids=str)
def test_words_of_channels_hold_the_same_weights(dtype: DType, groups: int, c: int) -> None:
    """[groups,panels,k/g,panel,g]: element (i, j) of a group stands at [i//panel,j//g,i%panel,j%g]."""
    x = fill(TensorType(DType.U8 if dtype is DType.I8 else dtype, (2, 5, 4, c)), {}, 1)
    w = fill(TensorType(dtype, (6, 2, 3, c // groups)), {}, 2)
    op = Conv2d(pad=(1, 1, 0, 0), groups=groups, wide=dtype is DType.BF16)
    (wanted,) = apply_op(op, x, w)
    g, panel = group_of(dtype), 4
    whole = -(-(c // groups) // g) * g
    wide = np.zeros((6, 2, 3, whole), w.dtype)
    wide[..., : c // groups] = w
    tight = np.zeros((groups, -(-(6 // groups) // panel), 6 * whole // g, panel, g), w.dtype)
    for number, part in enumerate(np.split(wide.reshape(6, -1), groups)):
        for i, j in np.ndindex(part.shape):
            tight[number, i // panel, j // g, i % panel, j % g] = part[i, j]
    (got,) = apply_op(replace(op, features=6, kernel=(2, 3), panel=panel), x, tight)
    assert np.array_equal(got, wanted)


def test_wide_sums_are_not_rounded_to_bfloat16() -> None:
    x, w = (to_bfloat16(normal(*shape)) for shape in ((2, 6, 5, 4), (3, 3, 3, 4)))
    (got,) = apply_op(Conv2d(wide=True), x, w)
    wanted = torch_conv(from_bfloat16(x), from_bfloat16(w), None, Conv2d())
    np.testing.assert_allclose(got, wanted, rtol=1.2e-7, atol=1e-9)


def test_wide_pixels_are_rounded_to_bfloat16_after_scaling() -> None:
    pixels, w = RANDOM.integers(0, 256, (1, 6, 6, 3), np.uint8), to_bfloat16(normal(4, 3, 3, 3))
    scale, shift = (0.017, 0.25, 0.003), (-1.1, 3.0, 0.5)
    (got,) = apply_op(Conv2d(pad=(1, 1, 1, 1), scale=scale, shift=shift, wide=True), pixels, w)
    scaled = (pixels * np.array(scale) + np.array(shift)).astype(np.float32)
    rounded = from_bfloat16(to_bfloat16(scaled))
    assert not np.array_equal(rounded, scaled)
    wanted = torch_conv(rounded, from_bfloat16(w), None, Conv2d(pad=(1, 1, 1, 1)))
    np.testing.assert_allclose(got, wanted, rtol=1.2e-7, atol=1e-9)


def test_inferred_types() -> None:
    assert infer(Conv2d(), "f32[N,9,8,4]", "f32[5,3,2,4]") == "f32[N,7,7,5]"
    assert infer(Conv2d(), "f32[1,8,8,4]", "f16[5,3,3,4]", "f32[5]") == "f32[1,6,6,5]"
    assert infer(Conv2d(stride=(2, 2)), "f16[1,H,8,4]", "f16[5,3,3,4]", "f16[5]") == "f16[1,((H+1)//2)+-1,3,5]"
    assert infer(Conv2d(groups=4), "f32[0,3,3,4]", "f32[8,1,1,1]") == "f32[0,3,3,8]"
    assert infer(Conv2d(scale=(1.0,), shift=(0.0,)), "u8[N,3,3,1]", "f32[8,1,1,1]") == "f32[N,3,3,8]"
    assert infer(Conv2d(groups=2, features=6, kernel=(1, 2), panel=2), "f32[N,3,3,4]", "f32[2,2,4,2]") == "f32[N,3,2,6]"
    assert infer(Conv2d(), "u8[N,3,3,3]", "i8[8,1,1,3]", "i32[8]") == "i32[N,3,3,8]"
    assert infer(Conv2d(wide=True), "bf16[N,3,3,3]", "bf16[8,1,1,3]", "f32[8]") == "f32[N,3,3,8]"
    scaled = Conv2d(wide=True, scale=(1.0,), shift=(0.0,))
    for dtype in ("u8", "f32", "bf16"):
        assert infer(scaled, f"{dtype}[N,3,3,1]", "bf16[8,1,1,1]") == "f32[N,3,3,8]"
    odd = Conv2d(features=6, kernel=(1, 2), panel=4)  # three channels take a word of four, the last of them 0
    assert infer(odd, "u8[N,3,3,3]", "i8[1,2,2,4,4]") == "i32[N,3,2,6]"


def test_macs() -> None:
    x, w = parse_type("f32[N,9,9,4]"), parse_type("f32[6,3,3,2]")
    op = Conv2d(groups=2)
    assert op.macs([x, w], infer_types(op, [x, w])) == symbol("N") * (7 * 7 * 6) * (3 * 3 * 2)
    tight, w = Conv2d(groups=2, features=6, kernel=(3, 3), panel=4), parse_type("f32[2,1,18,4]")
    assert tight.macs([x, w], infer_types(tight, [x, w])) == symbol("N") * (7 * 7 * 6) * (3 * 3 * 2)


X, W = "f32[N,9,8,4]", "f32[6,3,3,4]"
PIXELS = ["u8[N,9,8,4]", "i8[6,3,3,4]"]
SCALED = {"scale": (1.0,) * 4, "shift": (1.0,) * 4}


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
        ({}, ["u8[N,9,8,4]", W], "expected i8, got f32[6,3,3,4]"),
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
        (
            {"scale": (1.0,) * 4, "shift": (1.0,) * 4},
            ["i32[N,9,8,4]", W],
            "expected f16 or bf16 or f32 or f64, got i32[N,9,8,4]",
        ),
        (SCALED, ["u8[N,9,8,4]", "i8[6,3,3,4]"], "expected f16 or bf16 or f32 or f64, got i8[6,3,3,4]"),
        ({"wide": True}, [X, "bf16[6,3,3,4]"], "expected bf16, got f32[N,9,8,4]"),
        ({"wide": True}, ["bf16[N,9,8,4]", W], "expected bf16, got f32[6,3,3,4]"),
        ({"wide": True}, ["bf16[N,9,8,4]", "bf16[6,3,3,4]", "bf16[6]"], "expected f32, got bf16[6]"),
        ({}, ["u8[N,9,8,4]", "i8[6,3,3,4]", "f32[6]"], "expected i32, got f32[6]"),
        ({}, ["u8[N,9,9,65536]", "i8[6,1,2,65536]"], "expected at most 65536 products of bytes in a sum, got 131072"),
        ({"border": (1,) * 4}, [X, W], "expected u8, got f32[N,9,8,4]"),
        ({"border": (1, 2)}, PIXELS, "expected a border of 0..255 for each channel and no scale, got (1, 2)"),
        (
            {"border": (0, 0, 0, 256)},
            PIXELS,
            "expected a border of 0..255 for each channel and no scale, got (0, 0, 0, 256)",
        ),
        (
            SCALED | {"border": (1,) * 4},
            ["u8[N,9,8,4]", W],
            "expected a border of 0..255 for each channel and no scale, got (1, 1, 1, 1)",
        ),
        (
            {"panel": 4, "features": 6, "kernel": (3, 3)},
            ["u8[N,9,8,4]", "i8[1,2,36,4]"],
            "expected packed w[1,2,9,4,4], got i8[1,2,36,4]",
        ),
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
