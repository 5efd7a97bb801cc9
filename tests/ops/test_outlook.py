"""Outlook attention against unfold, softmax, matmul and fold in PyTorch, and against PyTorch's order of its logits."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alula.core.dims import symbol
from alula.ir.op import infer_types
from alula.ir.parser import parse_type
from alula.ops.outlook import OutlookAttention
from alula.ops.windows import window_counts
from tests.ops.cases import infer, refusal

RANDOM = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "pad", "heads", "d"),
    [
        ((28, 28), (3, 3), (2, 2), (1, 1), 2, 4),
        ((6, 5), (3, 3), (1, 1), (1, 1), 3, 2),
        ((7, 8), (3, 3), (2, 2), (1, 1), 1, 3),
        ((5, 9), (2, 3), (1, 2), (0, 1), 2, 1),
    ],
)
def test_against_pytorch(size, kernel, stride, pad, heads: int, d: int) -> None:
    places, scale = kernel[0] * kernel[1], d**-0.5
    h, w = window_counts(*size, kernel, stride, pad * 2)
    logits = RANDOM.standard_normal((2, h, w, heads * places * places)).astype(np.float32)
    v = RANDOM.standard_normal((2, *size, heads * d)).astype(np.float32)

    weights = torch.from_numpy(logits).double().reshape(2, h * w, heads, places, places).permute(0, 2, 1, 3, 4)
    flat = F.unfold(torch.from_numpy(v).double().permute(0, 3, 1, 2), kernel, 1, pad, stride)
    values = flat.reshape(2, heads, d, places, h * w).permute(0, 1, 4, 3, 2)
    mixed = (weights * scale).softmax(-1) @ values
    columns = mixed.permute(0, 1, 4, 3, 2).reshape(2, heads * d * places, h * w)
    wanted = F.fold(columns, size, kernel, 1, pad, stride).permute(0, 2, 3, 1)

    got = OutlookAttention(heads, kernel, stride, pad * 2, scale).reference(logits, v)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1.2e-7, atol=1e-9)


OP = OutlookAttention(6, (3, 3), (2, 2), (1, 1, 1, 1), 0.25)
LOGITS, V = "f32[N,14,14,486]", "f32[N,28,28,192]"


def test_types_and_macs() -> None:
    assert infer(OP, LOGITS, V) == V
    operands = [parse_type(LOGITS), parse_type(V)]
    assert OP.macs(operands, infer_types(OP, operands)) == symbol("N") * (14 * 14 * 6 * 9 * 9 * 32)
    assert infer(OP, "f32[N,((H+1)//2),1,486]", "f32[N,H,2,0]") == "f32[N,H,2,0]"


def test_refusals() -> None:
    assert refusal(OP, "f32[N,14,13,486]", V) == "expected logits[N,14,14,486], got f32[N,14,13,486]"
    assert refusal(OP, "f32[N,14,14,81]", V) == "expected logits[N,14,14,486], got f32[N,14,14,81]"
    assert refusal(OP, "f32[1,14,14,486]", V) == "expected logits[N,14,14,486], got f32[1,14,14,486]"
    assert refusal(OP, LOGITS, "f32[N,28,28,190]") == "expected heads that divide the 190 columns, got 6"
    assert refusal(OP, LOGITS, "f32[N,784,192]") == "expected rank 4 (b,h,w,c), got f32[N,784,192]"
    assert refusal(OP, "f16[N,14,14,486]", V) == "expected f32, got f16[N,14,14,486]"
    none = OutlookAttention(0, (3, 3), (2, 2), (1, 1, 1, 1), 0.25)
    assert refusal(none, LOGITS, V) == "expected heads that divide the 192 columns, got 0"
    still = OutlookAttention(6, (3, 3), (2, 0), (1, 1, 1, 1), 0.25)
    assert refusal(still, LOGITS, V) == "expected stride of 1..1048575, got (2, 0)"
