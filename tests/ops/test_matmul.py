"""Matrix products against PyTorch in float64; packed weights against plain ones."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alula.core.dims import symbol
from alula.ir.op import infer_types
from alula.ir.parser import parse_type
from alula.ops.matmul import Linear, Matmul
from tests.ops.cases import infer, refusal

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
    both = "expected features and panel both positive or both 0, got"
    assert refusal(Linear(0, 4), "f32[2,5]", "f32[0,5,4]") == f"{both} 0 and 4"
    assert refusal(Linear(7, 0), "f32[2,5]", "f32[7,5]") == f"{both} 7 and 0"
    assert refusal(Linear(-7, -4), "f32[2,5]", "f32[7,5]") == f"{both} -7 and -4"
    assert refusal(Matmul(), "f32[3,4]", "f32[5,6]") == "expected b[4,6], got f32[5,6]"
    assert refusal(Matmul(), "f32[4]", "f32[4,6]") == "expected rank 2 or more, got f32[4]"
    assert "broadcast" in refusal(Matmul(), "f32[2,3,4]", "f32[3,4,6]")
    assert refusal(Matmul(), "f32[3,N]", "f32[N+1,6]") == "expected b[N,6], got f32[N+1,6]"
