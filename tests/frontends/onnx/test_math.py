"""Arithmetic, activations, comparisons and choices as ONNX Runtime has them."""

import numpy as np
import pytest

from tests.frontends.onnx.models import Case, case_agrees, normal, op_names

X, Y = normal(2, 3, 5), normal(3, 1, seed=1)
POSITIVE = np.abs(X) + 0.1
SPECIAL = np.array([[np.nan, np.inf, -np.inf, 0, -0.0, 2.5, -2.5, 0.5, 1.5]], np.float32)
LONG = np.arange(-6, 6, dtype=np.int64)
DIVISORS = np.array([5, -3, 2, -7, 1, 3, -2, 4, 3, -3, 2, 5], np.int64)
BITWISE, WAYS = ["BitwiseAnd", "BitwiseOr", "BitwiseXor"], ["LEFT", "RIGHT"]
BYTES = np.arange(3, 250, 19).astype(np.uint8)
BITS = np.array([[True, False], [False, True]])

UNARY = ["Abs", "Erf", "Exp", "Neg", "Tanh", "Sigmoid", "Relu", "HardSwish", "Floor", "Ceil", "Round", "Sign"]
UNARY += ["Elu", "Celu", "Selu", "HardSigmoid", "Softplus", "Softsign", "LeakyRelu", "ThresholdedRelu", "Shrink"]
BINARY = ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Less", "Greater", "Equal", "LessOrEqual"]
BINARY += ["GreaterOrEqual"]

CASES = {
    **{name: Case(name, [X]) for name in UNARY},
    **{f"{name} of positive numbers": Case(name, [POSITIVE]) for name in ("Log", "Sqrt", "Reciprocal")},
    **{f"{name} of two": Case(name, [X, Y], constants=2) for name in BINARY},
    **{f"{name} with a constant": Case(name, [X, Y]) for name in ("Add", "Sub", "Max", "Less")},
    **{f"{name} of i64": Case(name, [LONG]) for name in ("Abs", "Neg", "Sign")},
    **{f"{name} of i64": Case(name, [LONG, LONG[::-1].copy()], constants=2) for name in ("Add", "Mul", "Less", "Max")},
    **{f"{name} of special numbers": Case(name, [SPECIAL]) for name in ("IsNaN", "IsInf", "Floor", "Round", "Ceil")},
    **{name: Case(name, [np.tanh(X)]) for name in ("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Atanh")},
    **{name: Case(name, [X]) for name in ("Sinh", "Cosh", "Asinh")},
    "Acosh": Case("Acosh", [POSITIVE + 1]),
    **{f"{name} of i64": Case(name, [LONG, DIVISORS], constants=2) for name in ("Div", "Mod")},
    "Mod of i64 of its sign": Case("Mod", [LONG, DIVISORS], {"fmod": 1}, constants=2),
    **{f"{name} of bits": Case(name, [LONG, DIVISORS], opset=18, constants=2) for name in BITWISE},
    "BitwiseNot": Case("BitwiseNot", [LONG], opset=18),
    **{f"{way} shift": Case("BitShift", [BYTES, BYTES % 8], {"direction": way}, constants=2) for way in WAYS},
    "power of integers": Case("Pow", [LONG, np.abs(DIVISORS)], constants=2),
    "infinite below": Case("IsInf", [SPECIAL], {"detect_positive": 0}),
    "elu": Case("Elu", [X], {"alpha": 0.5}),
    "celu": Case("Celu", [X], {"alpha": 2.0}),
    "selu": Case("Selu", [X], {"alpha": 2.0, "gamma": 3.0}),
    "hard sigmoid": Case("HardSigmoid", [X], {"alpha": 0.3, "beta": 0.4}),
    "hard sigmoid of PyTorch": Case("HardSigmoid", [X], {"alpha": 1 / 6, "beta": 0.5}),
    "shrink": Case("Shrink", [X], {"bias": 0.3, "lambd": 0.4}),
    "prelu": Case("PRelu", [X, Y]),
    "mish": Case("Mish", [X], opset=18),
    "gelu": Case("Gelu", [X], opset=20),
    "gelu by tanh": Case("Gelu", [X], {"approximate": "tanh"}, opset=20),
    "clip, opset 7": Case("Clip", [X], {"min": -0.5, "max": 0.5}, opset=7),
    "clip": Case("Clip", [X, np.float32(-0.5), np.float32(0.5)]),
    "clip above": Case("Clip", [X, None, np.float32(0.5)]),
    "clip of a run": Case("Clip", [X, np.array(-0.5, np.float32), np.array(0.5, np.float32)], constants=3),
    **{f"power {p}": Case("Pow", [POSITIVE, np.float32(p)]) for p in (2, 3, 0.5, -0.5, -1, 1.7)},
    "power with an integer": Case("Pow", [X, np.int64(2)]),
    "power of two": Case("Pow", [POSITIVE, Y], constants=2),
    **{name: Case(name, [BITS, BITS[:1]], constants=2) for name in ("And", "Or", "Xor")},
    "not": Case("Not", [BITS]),
    "where": Case("Where", [BITS, normal(2, 2), normal(1, 2)], constants=3),
    "where of i64": Case("Where", [BITS, LONG[:2], LONG[4:6]], constants=3),
    "halves": Case("Add", [X.astype(np.float16), Y.astype(np.float16)], constants=2),
    "doubles": Case("Mul", [X.astype(np.float64), Y.astype(np.float64)], constants=2),
}


@pytest.mark.parametrize("name", CASES)
def test_forms(name, tmp_path):
    case_agrees(CASES[name], tmp_path, 1e-3 if name == "halves" else 1e-5 if name.startswith("gelu") else 4e-6)


def test_small_powers_are_products_and_roots_are_roots(tmp_path):
    assert op_names(case_agrees(CASES["power 3"], tmp_path)) == ["mul", "mul"]
    assert op_names(case_agrees(CASES["power -0.5"], tmp_path)) == ["rsqrt"]
