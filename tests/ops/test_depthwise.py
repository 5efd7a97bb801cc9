"""Depthwise convolution against PyTorch in float64, for float32, bfloat16 and bytes."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alula.core.dtype import DType, from_bfloat16
from alula.ir.parser import parse_type
from alula.ops.depthwise import DepthwiseConv2d, packed_taps
from alula.ops.reference import apply_op
from tests.ops.cases import infer, refusal

RANDOM = np.random.default_rng(0)
SETTINGS = [
    {},
    {"stride": (2, 1)},
    {"pad": (1, 1, 1, 1)},
    {"stride": (2, 2), "pad": (0, 1, 2, 0)},
    {"dilation": (2, 1), "pad": (3, 1, 4, 2)},
    {"stride": (3, 2), "dilation": (1, 2), "pad": (0, 3, 0, 3)},
]


def torch_depthwise(x: np.ndarray, w: np.ndarray, bias: np.ndarray, op: DepthwiseConv2d) -> np.ndarray:
    top, left, bottom, right = op.pad
    image = F.pad(torch.from_numpy(x).double().permute(0, 3, 1, 2), (left, right, top, bottom))
    taps = torch.from_numpy(w).double().permute(2, 0, 1)[:, None]
    y = F.conv2d(image, taps, torch.from_numpy(bias).double(), op.stride, 0, op.dilation, len(taps))
    return y.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("attributes", SETTINGS, ids=str)
@pytest.mark.parametrize("dtype", ["f32", "bf16"])
def test_against_pytorch(dtype: str, attributes: dict[str, object]) -> None:
    op = DepthwiseConv2d(**attributes)
    x = RANDOM.standard_normal((2, 9, 8, 5)).astype(np.float32)
    plain = x
    if dtype == "bf16":
        x = (x.view(np.uint32) >> 16).astype(np.uint16).view(DType.BF16.numpy)
        plain = from_bfloat16(x)
    w, bias = (RANDOM.standard_normal(shape).astype(np.float32) for shape in ((3, 3, 5), (5,)))
    (y,) = apply_op(op, x, w, bias)
    np.testing.assert_allclose(y, torch_depthwise(plain, w, bias, op), rtol=1e-6, atol=1e-5)
    assert infer(op, f"{dtype}[2,9,8,5]", "f32[3,3,5]", "f32[5]") == f"f32[{','.join(map(str, y.shape))}]"


@pytest.mark.parametrize("attributes", SETTINGS, ids=str)
@pytest.mark.parametrize("kernel", [(3, 3), (2, 4)])
def test_bytes_against_pytorch(kernel: tuple[int, int], attributes: dict[str, object]) -> None:
    """What pads the picture stands for 0: so many times each weight less, the sums are those of x - zero."""
    zero = 77
    if kernel == (2, 4) and "pad" in attributes:
        attributes = {**attributes, "pad": (1, 0, 1, 2)}
    op = DepthwiseConv2d(**attributes, zero=zero)
    x = RANDOM.integers(0, 256, (2, 9, 8, 5), np.uint8)
    w = RANDOM.integers(-32768, 32768, (*kernel, 5)).astype(np.int16)
    (y,) = apply_op(op, x, w)
    wanted = torch_depthwise(x.astype(np.float32) - zero, w.astype(np.float32), np.zeros(5, np.float32), op)
    np.testing.assert_array_equal(y, wanted + zero * w.astype(np.int64).sum(axis=(0, 1)))
    assert y.dtype == np.int32
    type = f"i32[{','.join(map(str, y.shape))}]"
    assert infer(op, "u8[2,9,8,5]", f"i16[{kernel[0]},{kernel[1]},5]") == type
    packed = replace(op, taps=kernel[0])
    assert infer(packed, "u8[2,9,8,5]", f"i16[{kernel[0] + 1},{kernel[1]},5,2]") == type
    np.testing.assert_array_equal(apply_op(packed, x, packed_taps(w))[0], y)


def test_packed_weights_lie_after_the_one_above() -> None:
    w = np.arange(1, 7, dtype=np.int16).reshape(3, 1, 2)
    pairs = packed_taps(w)[:, 0].tolist()
    assert pairs == [[[0, 1], [0, 2]], [[1, 3], [2, 4]], [[3, 5], [4, 6]], [[5, 0], [6, 0]]]


def test_work_is_counted_by_taps() -> None:
    op = DepthwiseConv2d()
    types = [parse_type(text) for text in ("f32[N,9,8,5]", "f32[3,2,5]")]
    assert str(op.macs(types, [op.infer(*types)])) == "N*1470"
    types = [parse_type(text) for text in ("u8[N,9,8,5]", "i16[4,2,5,2]")]
    packed = DepthwiseConv2d(taps=3)
    assert str(packed.macs(types, [packed.infer(*types)])) == "N*1470"


def test_what_does_not_fit_is_refused() -> None:
    x, w = "f32[N,9,8,5]", "f32[3,3,5]"
    assert refusal(DepthwiseConv2d(), x, "f32[3,3,4]") == "expected w[3,3,5], got f32[3,3,4]"
    assert refusal(DepthwiseConv2d(), x, "i8[3,3,5]") == "expected f32, got i8[3,3,5]"
    assert refusal(DepthwiseConv2d(), x, w, "f32[4]") == "expected bias[5], got f32[4]"
    assert refusal(DepthwiseConv2d(zero=3), x, w) == "expected a zero of 0..255 for u8, else 0, got 3 for f32"
    bytes, words = "u8[N,9,8,5]", "i16[3,3,5]"
    assert refusal(DepthwiseConv2d(zero=256), bytes, words).endswith("got 256 for u8")
    assert refusal(DepthwiseConv2d(), bytes, w) == "expected i16, got f32[3,3,5]"
    assert refusal(DepthwiseConv2d(), bytes, words, "f32[5]") == "expected no bias for u8, got f32[5]"
    assert refusal(DepthwiseConv2d(taps=3), x, w) == "expected a packed weight for u8 alone, got one for f32"
    assert refusal(DepthwiseConv2d(taps=3), bytes, "i16[3,3,5,2]") == "expected packed w[4,3,5,2], got i16[3,3,5,2]"
    assert refusal(DepthwiseConv2d(), "u8[N,40,8,5]", "i16[37,7,5]").endswith("256 products of words in a sum, got 259")
    assert refusal(DepthwiseConv2d(), "i8[N,9,8,5]", w).startswith("expected u8 or bf16 or f32")
    assert refusal(DepthwiseConv2d(pad=(3, 0, 0, 0)), x, w).startswith("expected pad")
