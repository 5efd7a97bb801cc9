"""Comparisons, logic, choices and steps: NaN, infinities, ties, types."""

import numpy as np

from alula.ops.logic import (
    And,
    Ceil,
    Equal,
    Floor,
    IsNan,
    Less,
    LessOrEqual,
    Not,
    Or,
    Round,
    ShiftLeft,
    ShiftRight,
    Sign,
    Where,
    Xor,
)
from tests.ops.cases import infer, refusal

X = np.array([np.nan, np.inf, -2.5, -0.5, 0.5, 1.5], np.float32)
BITS = np.array([[True, False], [False, True]])


def test_steps() -> None:
    assert Floor().reference(X)[2:].tolist() == [-3, -1, 0, 1]
    assert Ceil().reference(X)[2:].tolist() == [-2, 0, 1, 2]
    assert Round().reference(X)[2:].tolist() == [-2, 0, 0, 2]
    assert Sign().reference(X)[1:].tolist() == [1, -1, -1, 1, 1]
    assert np.isnan(Sign().reference(X)[0])
    assert IsNan().reference(X).tolist() == [True] + [False] * 5


def test_nan_compares_with_nothing() -> None:
    nan = np.array([np.nan], np.float32)
    assert not any(
        op.reference(nan, other)[0] for op in (Equal(), Less(), LessOrEqual()) for other in (nan, -nan, nan + 1)
    )


def test_logic() -> None:
    a, b = BITS
    assert And().reference(a, b).tolist() == [False, False]
    assert Or().reference(a, b).tolist() == [True, True]
    assert Xor().reference(a, a).tolist() == [False, False]
    assert Not().reference(a).tolist() == [False, True]


def test_bits_of_integers() -> None:
    a, b = np.array([12, -3, 7], np.int16), np.array([10, 6, -1], np.int16)
    assert And().reference(a, b).tolist() == [12 & 10, -3 & 6, 7]
    assert Or().reference(a, b).tolist() == [12 | 10, -3 | 6, -1]
    assert Xor().reference(a, b).tolist() == [12 ^ 10, -3 ^ 6, ~7]
    assert Not().reference(a).tolist() == [~12, 2, ~7]


def test_shifts_by_all_bits_leave_nothing() -> None:
    a = np.array([129, 129, 129, 129], np.uint8)
    bits = np.array([0, 1, 7, 8], np.uint8)
    assert ShiftLeft().reference(a, bits).tolist() == [129, 2, 128, 0]
    assert ShiftRight().reference(a, bits).tolist() == [129, 64, 1, 0]
    a, bits = np.array([-127, -127, 64, 64], np.int8), np.array([1, 8, 1, -1], np.int8)
    assert ShiftLeft().reference(a, bits).tolist() == [2, 0, -128, 0]
    assert ShiftRight().reference(a, bits).tolist() == [-64, -1, 32, 0]


def test_where_broadcasts_all_three() -> None:
    got = Where().reference(BITS, np.float32(7), np.array([1, 2], np.float32))
    assert got.tolist() == [[7, 2], [1, 7]]


def test_types() -> None:
    assert infer(Less(), "i64[N,3]", "i64[1]") == "bool[N,3]"
    assert infer(IsNan(), "f32[N]") == "bool[N]"
    assert infer(Where(), "bool[N,1]", "u8[3]", "u8[]") == "u8[N,3]"


def test_refusals() -> None:
    assert "got f32[2]" in refusal(And(), "f32[2]", "f32[2]")
    assert "got f32[2]" in refusal(ShiftLeft(), "f32[2]", "f32[2]")
    assert refusal(Less(), "f32[2]", "f64[2]") == "expected f32, got f64[2]"
    assert refusal(Where(), "bool[2]", "u8[2]", "f32[2]") == "expected u8, got f32[2]"
