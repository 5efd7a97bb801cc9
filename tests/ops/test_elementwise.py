"""Elementwise references against PyTorch in float64, and what the ops refuse."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from alula.core.dtype import DType, from_bfloat16, to_bfloat16
from alula.core.errors import GraphError
from alula.ops.elementwise import (
    Abs,
    Add,
    Binary,
    Cast,
    Clip,
    Div,
    Erf,
    Exp,
    Gelu,
    HardSigmoid,
    HardSwish,
    LeakyRelu,
    Log,
    Maximum,
    Minimum,
    Mul,
    Neg,
    Normalize,
    Pow,
    Reciprocal,
    Relu,
    Rsqrt,
    Sigmoid,
    Silu,
    Sqrt,
    Sub,
    Tanh,
    Unary,
)
from alula.ops.reference import apply_op
from tests.ops.cases import infer, refusal

UNARY = {
    Neg(): torch.neg,
    Abs(): torch.abs,
    Exp(): torch.exp,
    Log(): torch.log,
    Sqrt(): torch.sqrt,
    Rsqrt(): torch.rsqrt,
    Reciprocal(): torch.reciprocal,
    Erf(): torch.erf,
    Tanh(): torch.tanh,
    Sigmoid(): torch.sigmoid,
    Relu(): torch.relu,
    Silu(): F.silu,
    Gelu(): F.gelu,
    Gelu("tanh"): lambda x: F.gelu(x, approximate="tanh"),
    Clip(-0.5, 1.25): lambda x: torch.clamp(x, -0.5, 1.25),
    Clip(0.0, math.inf): lambda x: torch.clamp(x, min=0),
    LeakyRelu(0.01): F.leaky_relu,
    HardSigmoid(): F.hardsigmoid,
    HardSwish(): F.hardswish,
}
BINARY = {
    Add(): torch.add,
    Sub(): torch.sub,
    Mul(): torch.mul,
    Div(): torch.div,
    Pow(): torch.pow,
    Maximum(): torch.maximum,
    Minimum(): torch.minimum,
}
SPECIAL = [0.0, -0.0, 1.0, -1.0, 1e-30, 6.5, -6.5, 3.0, -3.0, 88.0, -104.0, math.inf, -math.inf, math.nan]


def inputs() -> np.ndarray:
    return np.concatenate([SPECIAL, np.random.default_rng(1).normal(0, 4, 400)]).astype(np.float32)


def assert_rounded(got: np.ndarray, exact: torch.Tensor, atol: float = 1e-37) -> None:
    """`got` is within one unit in the last place of what PyTorch computes in float64; special values are the same."""
    wanted = exact.to(torch.float32).numpy()
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted, rtol=1.2e-7, atol=atol)


@pytest.mark.parametrize("op", UNARY, ids=str)
def test_unary_against_pytorch(op: Unary) -> None:
    x = inputs()
    lost_digits = 1e-14 if isinstance(op, Gelu) else 1e-37  # PyTorch adds 1 and erf, or 1 and tanh
    assert_rounded(op.reference(x), UNARY[op](torch.from_numpy(x).double()), lost_digits)


def test_gelu_keeps_its_digits_far_below_zero() -> None:
    x = np.linspace(-12, -1, 50).astype(np.float32)
    exact = torch.from_numpy(x).double()
    assert_rounded(Gelu().reference(x), exact * torch.special.log_ndtr(exact).exp())
    inner = math.sqrt(2 / math.pi) * (exact + 0.044715 * exact**3)
    assert_rounded(Gelu("tanh").reference(x), exact * torch.sigmoid(2 * inner))


@pytest.mark.parametrize("op", BINARY, ids=str)
def test_binary_against_pytorch(op: Binary) -> None:
    a, b = inputs()[:, None], np.array([*SPECIAL, 2.0, 0.5, -2.5], np.float32)
    assert_rounded(op.reference(a, b), BINARY[op](torch.from_numpy(a).double(), torch.from_numpy(b).double()))


@pytest.mark.parametrize("op", [Add(), Sub(), Mul(), Maximum(), Minimum()], ids=str)
@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.int64])
def test_integers_wrap_as_in_pytorch(op: Binary, dtype: type[np.integer]) -> None:
    limits = np.iinfo(dtype)
    values = np.array([limits.min, limits.min + 1, 0, 1, 100, limits.max - 1, limits.max], dtype)
    wanted = BINARY[op](torch.from_numpy(values)[:, None], torch.from_numpy(values)).numpy()
    got = op.reference(values[:, None], values)
    assert np.array_equal(got, wanted)
    assert got.dtype == dtype
    scalars = op.reference(np.array(limits.max, dtype), np.array(limits.max, dtype))
    assert (scalars.shape, scalars) == ((), wanted[-1, -1])


@pytest.mark.parametrize("op", [Neg(), Abs(), Relu()], ids=str)
def test_unary_integers(op: Unary) -> None:
    values = np.array([-128, -5, 0, 5, 127], np.int8)
    assert np.array_equal(op.reference(values), UNARY[op](torch.from_numpy(values)).numpy())


@pytest.mark.parametrize("op", [Exp(), Gelu(), Silu(), Tanh()], ids=str)
def test_bfloat16_rounds_the_float32_result(op: Unary) -> None:
    x = torch.linspace(-6, 6, 301).bfloat16()
    (got,) = apply_op(op, to_bfloat16(x.float().numpy()))
    assert np.array_equal(from_bfloat16(got), UNARY[op](x.double()).float().bfloat16().float().numpy())


@pytest.mark.parametrize(("op", "function"), [(Exp(), np.exp), (Sqrt(), np.sqrt)], ids=str)
def test_float16_rounds_once(op: Unary, function: Callable[..., np.ndarray]) -> None:
    x = np.linspace(0, 11, 200).astype(np.float16)
    assert np.array_equal(op.reference(x), function(x.astype(np.float64)).astype(np.float16))


def test_erf_against_published_values() -> None:
    """Abramowitz and Stegun, Handbook of Mathematical Functions, table 7.1."""
    got = Erf().reference(np.array([0.1, 0.5, 1.0, 2.0]))
    np.testing.assert_allclose(got, [0.1124629160, 0.5204998778, 0.8427007929, 0.9953222650], rtol=0, atol=5e-11)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_normalize_is_torchvisions(dtype: type) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 3)).astype(dtype)
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    op = Normalize(tuple(1 / 255 / s for s in std), tuple(-m / s for m, s in zip(mean, std, strict=True)))
    wanted = (torch.from_numpy(pixels).double() / 255 - torch.tensor(mean).double()) / torch.tensor(std).double()
    got = op.reference(pixels)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, wanted.numpy(), rtol=1e-6, atol=1e-6)


def test_cast_keeps_shape_and_truncates() -> None:
    got = Cast(DType.I32).reference(np.array([[1.9, -1.9]], np.float32))
    assert np.array_equal(got, np.array([[1, -1]], np.int32))
    assert Cast(DType.F16).reference(np.array(1.0)).shape == ()


def test_inferred_types() -> None:
    assert infer(Gelu(), "bf16[N,3]") == "bf16[N,3]"
    assert infer(Relu(), "u8[]") == "u8[]"
    assert infer(Add(), "f32[N,1,3]", "f32[7,1]") == "f32[N,7,3]"
    assert infer(Add(), "f32[]", "f32[0,N]") == "f32[0,N]"
    assert infer(Cast(DType.BOOL), "f64[2,N]") == "bool[2,N]"
    assert infer(Normalize((1.0, 2.0), (0.0, 0.0)), "u8[N,2]") == "f32[N,2]"


def test_integers_divide_towards_zero_and_powers_wrap() -> None:
    a, b = np.array([7, -7, 7, -7, 5, -128, 0], np.int8), np.array([2, 2, -2, -2, 0, -1, 3], np.int8)
    assert Div().reference(a, b).tolist() == [3, -3, -3, 3, 0, -128, 0]
    wide = [torch.from_numpy(x.astype(np.int64)) for x in (a[:4], b[:4])]
    assert Div().reference(a[:4], b[:4]).tolist() == torch.div(*wide, rounding_mode="trunc").tolist()
    assert Div().reference(np.array([250, 9], np.uint8), np.array([3, 0], np.uint8)).tolist() == [83, 0]
    assert Pow().reference(a, b).tolist() == [49, 49, 0, 0, 1, 0, 0]
    assert Pow().reference(np.array([3], np.uint8), np.array([6], np.uint8)).tolist() == [729 % 256]


def test_refusals() -> None:
    assert refusal(Exp(), "i32[2]") == "expected f16 or bf16 or f32 or f64, got i32[2]"
    assert "got u8[2]" in refusal(Neg(), "u8[2]")
    assert "got bool[2]" in refusal(Add(), "bool[2]", "bool[2]")
    assert "got bool[2]" in refusal(Div(), "bool[2]", "bool[2]")
    assert refusal(Add(), "f32[2]", "f16[2]") == "expected f32, got f16[2]"
    assert refusal(Add(), "f32[2,3]", "f32[2]") == "expected shapes that broadcast, got [2,3] and [2]"
    assert refusal(Mul(), "f32[N]", "f32[2]") == "expected shapes that broadcast, got [N] and [2]"
    assert refusal(Mul(), "f32[0]", "f32[2]") == "expected shapes that broadcast, got [0] and [2]"
    assert refusal(Exp(), "f32[2]", "f32[2]") == "expected 1 operands, got 2"
    assert refusal(Add(), "f32[2]") == "expected 2 operands, got 1"
    assert refusal(Gelu("erf"), "f32[2]") == "expected approximate of none or tanh, got 'erf'"
    assert refusal(Clip(2.0, 1.0), "f32[2]") == "expected low <= high, got 2.0 and 1.0"
    assert refusal(Normalize((1.0,), (0.0,)), "f32[2,3]") == "expected x[2,1], got f32[2,3]"
    assert refusal(Normalize((1.0,), ()), "f32[2,1]") == "expected as many shifts as scales, got 0 and 1"
    assert "expected rank 1 or more" in refusal(Normalize((), ()), "f32[]")


@pytest.mark.parametrize("value", [math.nan, "1", None, True, 1j, 10**400], ids=str)
def test_attributes_that_are_no_floats(value: object) -> None:
    with pytest.raises(GraphError, match="leaky_relu slope: expected float, got"):
        LeakyRelu(value)


def test_numbers_take_one_spelling() -> None:
    assert repr(Clip(0, np.float64(6)).high) == "6.0"
    assert Clip(0, 6) == Clip(0.0, 6.0)
