"""Attention against PyTorch's scaled_dot_product_attention in float64."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alula.core.dims import symbol
from alula.core.dtype import from_bfloat16, to_bfloat16
from alula.ir.op import infer_types
from alula.ir.parser import parse_type
from alula.ops.attention import Attention
from alula.ops.reference import apply_op
from tests.ops.cases import infer, refusal

RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def heads_of(x: np.ndarray, heads: int) -> torch.Tensor:
    return torch.from_numpy(x).double().unflatten(2, (heads, -1)).transpose(1, 2)


@pytest.mark.parametrize(("n", "m", "heads", "d", "e"), [(5, 5, 3, 4, 4), (1, 9, 2, 8, 3), (4, 1, 1, 5, 2)])
@pytest.mark.parametrize("scale", [0.5, -2.0, 0.0])
def test_against_pytorch(n: int, m: int, heads: int, d: int, e: int, scale: float) -> None:
    q, k, v = normal(2, n, heads * d), normal(2, m, heads * d), normal(2, m, heads * e)
    wanted = F.scaled_dot_product_attention(*(heads_of(x, heads) for x in (q, k, v)), scale=scale)
    got = Attention(heads, scale).reference(q, k, v)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted.transpose(1, 2).flatten(2).numpy(), rtol=1.2e-7, atol=1e-9)


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("bias", [(1, 1, 1, 9), (1, 3, 4, 9), (2, 1, 4, 9), (6, 3, 1, 9), (3, 3, 4, 9)], ids=str)
def test_a_bias_against_pytorch(bias: tuple[int, ...], wide: bool) -> None:
    """Batch elements take the biases in turns."""
    arrays = normal(6, 4, 12), normal(6, 9, 12), normal(6, 9, 6)
    q, k, v = (to_bfloat16(x) for x in arrays) if wide else arrays
    added = normal(*bias)
    added[..., 2] = -np.inf
    mask = torch.from_numpy(added).double().repeat(6 // bias[0], 1, 1, 1)
    seen = (heads_of(from_bfloat16(x) if wide else x, 3) for x in (q, k, v))
    wanted = F.scaled_dot_product_attention(*seen, attn_mask=mask, scale=0.5)
    (got,) = apply_op(Attention(3, 0.5, wide), q, k, v, added)
    np.testing.assert_allclose(got, wanted.transpose(1, 2).flatten(2).numpy(), rtol=1.2e-7, atol=1e-9)


def test_wide_takes_bfloat16_and_gives_float32() -> None:
    q, k, v = (to_bfloat16(normal(2, n, columns)) for n, columns in ((5, 12), (7, 12), (7, 9)))
    (got,) = apply_op(Attention(3, 0.5, wide=True), q, k, v)
    wanted = F.scaled_dot_product_attention(*(heads_of(from_bfloat16(x), 3) for x in (q, k, v)), scale=0.5)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted.transpose(1, 2).flatten(2).numpy(), rtol=1.2e-7, atol=1e-9)


@pytest.mark.parametrize("wide", [False, True])
def test_values_in_bytes(wide: bool) -> None:
    """Each column in each batch element to 127ths of its largest value, weights nearly exact: one step off at most."""
    arrays = [normal(2, n, columns) for n, columns in ((5, 12), (7, 12), (7, 9))]
    arrays[2][..., 4] *= 1000
    arrays[2][0, :, 5] = 0
    q, k, v = map(to_bfloat16, arrays) if wide else arrays
    (got,), (exact,) = (apply_op(Attention(3, 0.5, wide, byte), q, k, v) for byte in (True, False))
    assert got.dtype == np.float32
    step = np.abs(from_bfloat16(v) if wide else v).max(1, keepdims=True) / 127
    assert np.abs(got - exact).max() > 0
    assert np.all(np.abs(got - exact) <= 0.51 * step)
    assert np.all(got[0, :, 5] == 0)
    rounded = np.rint((from_bfloat16(v) if wide else v) / np.where(step > 0, step, 1)) * step
    (mixed,) = apply_op(
        Attention(3, 0.5), *(from_bfloat16(x) if wide else x for x in (q, k)), rounded.astype(np.float32)
    )
    assert np.all(np.abs(got - mixed) <= 0.02 * step)
    (alone,) = apply_op(Attention(3, 0.5, wide, byte_values=True), q, k[:, :1], v[:, :1])
    np.testing.assert_allclose(
        alone, np.broadcast_to(from_bfloat16(v) if wide else v, (2, 7, 9))[:, :1].repeat(5, 1), rtol=1e-6
    )


def test_nothing_to_attend_to_gives_zeros() -> None:
    got = Attention(2, 1.0).reference(normal(1, 3, 4), normal(1, 0, 4), normal(1, 0, 6))
    assert np.array_equal(got, np.zeros((1, 3, 6)))


def test_types_and_macs() -> None:
    texts = ["f32[N,4,12]", "f32[N,9,12]", "f32[N,9,6]"]
    assert infer(Attention(3, 1.0), *texts) == "f32[N,4,6]"
    assert infer(Attention(3, 1.0, wide=True), *(text.replace("f32", "bf16") for text in texts)) == "f32[N,4,6]"
    assert infer(Attention(3, 1.0), *texts, "f32[1,3,4,9]") == "f32[N,4,6]"
    assert infer(Attention(3, 1.0), *texts, "f32[N,1,1,9]") == "f32[N,4,6]"
    windows = [text.replace("N", "N*8") for text in texts]
    assert infer(Attention(3, 1.0), *windows, "f32[4,1,4,9]") == "f32[N*8,4,6]"
    operands = [parse_type(text) for text in texts]
    op = Attention(3, 1.0)
    assert op.macs(operands, infer_types(op, operands)) == symbol("N") * (3 * 4 * 9 * (4 + 2))


def test_refusals() -> None:
    q, k, v = "f32[N,4,12]", "f32[N,9,12]", "f32[N,9,6]"
    assert refusal(Attention(5, 1.0), q, k, v) == "expected heads that divide the 12 columns, got 5"
    assert refusal(Attention(4, 1.0), q, k, v) == "expected heads that divide the 6 columns, got 4"
    assert refusal(Attention(0, 1.0), q, k, v) == "expected heads that divide the 12 columns, got 0"
    assert refusal(Attention(-3, 1.0), q, k, v) == "expected heads that divide the 12 columns, got -3"
    assert refusal(Attention(3, 1.0), q, "f32[N,9,6]", v) == "expected k[N,9,12], got f32[N,9,6]"
    assert refusal(Attention(3, 1.0), q, "f32[1,9,12]", v) == "expected k[N,9,12], got f32[1,9,12]"
    assert refusal(Attention(3, 1.0), q, k, "f32[N,8,6]") == "expected v[N,9,6], got f32[N,8,6]"
    assert refusal(Attention(3, 1.0), q, k, "f16[N,9,6]") == "expected f32, got f16[N,9,6]"
    assert refusal(Attention(3, 1.0, wide=True), q, k, v) == "expected bf16, got f32[N,4,12]"
    assert refusal(Attention(3, 1.0, wide=True), "bf16[N,4,12]", k, v) == "expected bf16, got f32[N,9,12]"
    assert refusal(Attention(3, 1.0), "f32[4,12]", k, v) == "expected rank 3 (b,n,c), got f32[4,12]"
    assert refusal(Attention(3, 1.0), "f32[N,4,C]", k, v) == "expected a fixed number of columns, got C"


@pytest.mark.parametrize("bias", ["f32[2,1,1,9]", "f32[1,2,4,9]", "f32[1,1,3,9]", "f32[1,3,4,1]", "f32[0,1,1,9]"])
def test_biases_that_do_not_fit(bias: str) -> None:
    got = refusal(Attention(3, 1.0), "f32[N,4,12]", "f32[N,9,12]", "f32[N,9,6]", bias)
    assert got == f"expected bias[g,3 or 1,4 or 1,9], g a divisor of N, got {bias}"


def test_a_bias_of_another_type_is_refused() -> None:
    texts = "f32[N,4,12]", "f32[N,9,12]", "f32[N,9,6]"
    assert refusal(Attention(3, 1.0), *texts, "f16[1,1,1,9]") == "expected f32, got f16[1,1,1,9]"
    narrow = [text.replace("f32", "bf16") for text in texts]
    assert refusal(Attention(3, 1.0, wide=True), *narrow, "bf16[1,1,1,9]") == "expected f32, got bf16[1,1,1,9]"
    assert refusal(Attention(3, 1.0), *texts, "f32[1,1,9]") == "expected rank 4 (g,h,n,m), got f32[1,1,9]"
