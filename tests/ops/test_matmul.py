"""Matrix products against PyTorch in float64; packed weights against plain ones."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alula.core.dims import symbol
from alula.core.dtype import BFLOAT16_STORAGE, DType, from_bfloat16, to_bfloat16
from alula.ir.op import infer_types
from alula.ir.parser import parse_type
from alula.ir.types import TensorType
from alula.ops.matmul import Linear, Matmul, group_of
from alula.ops.reference import apply_op
from tests.ops.cases import fill, infer, refusal

N = symbol("N")
RANDOM = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RANDOM.standard_normal(shape).astype(np.float32)


def packed(w: np.ndarray, panel: int) -> np.ndarray:
    """w[n,k] -> [ceil(n/panel),k,panel], one element at a time."""
    n, k = w.shape
    result = np.zeros((-(-n // panel), k, panel), w.dtype)
    for row in range(n):
        result[row // panel, :, row % panel] = w[row]
    return result


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (0, 5)])
@pytest.mark.parametrize("with_bias", [False, True])
def test_linear_against_pytorch(shape: tuple[int, ...], with_bias: bool) -> None:
    x, w, bias = normal(*shape), normal(7, 5), normal(7) if with_bias else None
    exact = F.linear(
        torch.from_numpy(x).double(),
        torch.from_numpy(w).double(),
        None if bias is None else torch.from_numpy(bias).double(),
    )
    operands = [x, w] if bias is None else [x, w, bias]
    got = Linear().reference(*operands)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, exact.numpy(), rtol=1.2e-7, atol=1e-12)
    for panel in (1, 3, 7, 16):
        repacked = [x, packed(w, panel), *operands[2:]]
        assert np.array_equal(Linear(7, panel).reference(*repacked), got)


def test_bytes_are_exact() -> None:
    """At the ends of their range, where products do not fit 16 bits and sums of float32 would be rounded."""
    x, w = np.full((2, 600), 255, np.uint8), np.full((5, 600), -128, np.int8)
    x[1], w[1:] = RANDOM.integers(0, 256, 600), RANDOM.integers(-128, 128, (4, 600))
    w[2] = 127
    bias = np.arange(5, dtype=np.int32) - 2
    wanted = x.astype(np.int64) @ w.T.astype(np.int64) + bias
    assert wanted.min() < -(1 << 24)
    got = Linear().reference(x, w, bias)
    assert got.dtype == np.int32
    assert np.array_equal(got, wanted)


@pytest.mark.parametrize("dtype", [DType.BF16, DType.I8], ids=str)
def test_packed_words_hold_the_same_weights(dtype: DType) -> None:
    """[panels,k/g,panel,g]: element (i, j) stands at [i//panel,j//g,i%panel,j%g]."""
    x = fill(TensorType(DType.U8 if dtype is DType.I8 else dtype, (3, 12)), {}, 1)
    w = fill(TensorType(dtype, (7, 12)), {}, 2)
    g, wide = group_of(dtype), dtype is DType.BF16
    (wanted,) = apply_op(Linear(wide=wide), x, w)
    for panel in (1, 3, 7, 16):
        tight = np.zeros((-(-7 // panel), 12 // g, panel, g), w.dtype)
        for i, j in np.ndindex(w.shape):
            tight[i // panel, j // g, i % panel, j % g] = w[i, j]
        (got,) = apply_op(Linear(7, panel, wide), x, tight)
        assert np.array_equal(got, wanted)


def test_wide_sums_are_not_rounded_to_bfloat16() -> None:
    x, w = (to_bfloat16(normal(*shape)) for shape in ((3, 50), (4, 50)))
    (got,) = apply_op(Linear(wide=True), x, w)
    wanted = from_bfloat16(x).astype(np.float64) @ from_bfloat16(w).T.astype(np.float64)
    np.testing.assert_allclose(got, wanted, rtol=1.2e-7, atol=1e-12)
    (rounded,) = apply_op(Linear(), x, w)
    assert rounded.dtype == BFLOAT16_STORAGE


@pytest.mark.parametrize(
    ("a", "b"), [((3, 4), (4, 5)), ((2, 1, 3, 4), (6, 4, 5)), ((2, 3, 4), (4, 5)), ((2, 3, 0), (2, 0, 5))]
)
def test_matmul_against_pytorch(a: tuple[int, ...], b: tuple[int, ...]) -> None:
    x, y = normal(*a), normal(*b)
    exact = torch.from_numpy(x).double() @ torch.from_numpy(y).double()
    np.testing.assert_allclose(Matmul().reference(x, y), exact.numpy(), rtol=1.2e-7, atol=1e-12)


def test_inferred_types() -> None:
    assert infer(Linear(), "f32[N,5]", "f32[7,5]") == "f32[N,7]"
    assert infer(Linear(), "bf16[5]", "bf16[7,5]", "bf16[7]") == "bf16[7]"
    assert infer(Linear(), "f32[2,5]", "f16[7,5]", "f32[7]") == "f32[2,7]"
    assert infer(Linear(7, 4), "f32[N,2,5]", "f32[2,5,4]", "f32[7]") == "f32[N,2,7]"
    assert infer(Linear(), "u8[N,5]", "i8[7,5]", "i32[7]") == "i32[N,7]"
    assert infer(Linear(7, 4), "u8[N,8]", "i8[2,2,4,4]", "i32[7]") == "i32[N,7]"
    assert infer(Linear(wide=True), "bf16[N,5]", "bf16[7,5]", "f32[7]") == "f32[N,7]"
    assert infer(Linear(7, 4, wide=True), "bf16[N,6]", "bf16[2,3,4,2]") == "f32[N,7]"
    assert infer(Matmul(), "f32[N,1,3,4]", "f32[6,4,5]") == "f32[N,6,3,5]"


def test_macs() -> None:
    for op, texts, macs in [
        (Linear(), ["f32[N,3,5]", "f32[7,5]"], N * 3 * 5 * 7),
        (Linear(7, 4), ["f32[N,3,5]", "f32[2,5,4]"], N * 3 * 5 * 7),
        (Matmul(), ["f32[N,3,4]", "f32[4,5]"], N * 3 * 4 * 5),
    ]:
        operands = [parse_type(text) for text in texts]
        assert op.macs(operands, infer_types(op, operands)) == macs


def test_refusals() -> None:
    assert refusal(Linear(), "f32[2,5]", "f32[7,4]") == "expected w[7,5], got f32[7,4]"
    assert refusal(Linear(), "f32[2,5]", "f32[7,5]", "f32[6]") == "expected bias[7], got f32[6]"
    assert refusal(Linear(), "f32[2,5]", "f32[7,5]", "f32[1,7]") == "expected bias[7], got f32[1,7]"
    assert refusal(Linear(), "f32[2,5]", "f64[7,5]") == "expected f32, got f64[7,5]"
    assert refusal(Linear(), "f16[2,5]", "f32[7,5]") == "expected f16, got f32[7,5]"
    assert refusal(Linear(), "f32[2,5]", "f16[7,5]", "f16[7]") == "expected f32, got f16[7]"
    assert refusal(Linear(), "f32[]", "f32[7,5]") == "expected rank 1 or more, got f32[]"
    assert refusal(Linear(), "f32[2,5]", "f32[1,7,5]") == "expected rank 2 (n,k), got f32[1,7,5]"
    assert "got i8[2,5]" in refusal(Linear(), "i8[2,5]", "i8[7,5]")
    assert refusal(Linear(), "f32[5]") == "expected 2 to 3 operands, got 1"
    assert refusal(Linear(7, 4), "f32[2,5]", "f32[7,5]") == "expected packed w[2,5,4], got f32[7,5]"
    assert refusal(Linear(9, 4), "f32[2,5]", "f32[2,5,4]") == "expected packed w[3,5,4], got f32[2,5,4]"
    assert refusal(Linear(), "u8[2,5]", "u8[7,5]") == "expected i8, got u8[7,5]"
    assert refusal(Linear(), "u8[2,5]", "i8[7,5]", "f32[7]") == "expected i32, got f32[7]"
    assert refusal(Linear(wide=True), "f32[2,5]", "bf16[7,5]") == "expected bf16, got f32[2,5]"
    assert refusal(Linear(wide=True), "bf16[2,5]", "f32[7,5]") == "expected bf16, got f32[7,5]"
    assert refusal(Linear(wide=True), "u8[2,5]", "i8[7,5]") == "expected bf16, got u8[2,5]"
    assert refusal(Linear(wide=True), "bf16[2,5]", "bf16[7,5]", "bf16[7]") == "expected f32, got bf16[7]"
    assert infer(Linear(), "u8[2,65536]", "i8[7,65536]") == "i32[2,7]"
    most = "expected at most 65536 products of bytes in a sum, got"
    assert refusal(Linear(), "u8[2,65537]", "i8[7,65537]") == f"{most} 65537"
    multiple = "expected an inner size that is a multiple of"
    assert refusal(Linear(7, 4), "u8[2,6]", "i8[2,2,4,4]") == f"{multiple} 4 for i8, got 6"
    assert refusal(Linear(7, 4, wide=True), "bf16[2,5]", "bf16[2,3,4,2]") == f"{multiple} 2 for bf16, got 5"
    assert refusal(Linear(7, 4), "u8[2,K]", "i8[2,2,4,4]") == "expected a fixed inner size, got K"
    assert refusal(Linear(7, 4), "u8[2,8]", "i8[2,8,4]") == "expected packed w[2,2,4,4], got i8[2,8,4]"
    both = "expected features and panel both positive or both 0, got"
    assert refusal(Linear(0, 4), "f32[2,5]", "f32[0,5,4]") == f"{both} 0 and 4"
    assert refusal(Linear(7, 0), "f32[2,5]", "f32[7,5]") == f"{both} 7 and 0"
    assert refusal(Linear(-7, -4), "f32[2,5]", "f32[7,5]") == f"{both} -7 and -4"
    assert refusal(Matmul(), "f32[3,4]", "f32[5,6]") == "expected b[4,6], got f32[5,6]"
    assert refusal(Matmul(), "f32[4]", "f32[4,6]") == "expected rank 2 or more, got f32[4]"
    assert "broadcast" in refusal(Matmul(), "f32[2,3,4]", "f32[3,4,6]")
    assert refusal(Matmul(), "f32[3,N]", "f32[N+1,6]") == "expected b[N,6], got f32[N+1,6]"
