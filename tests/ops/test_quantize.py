"""Quantisation and back against ONNX Runtime; by rows against exact fractions, one element at a time."""

from fractions import Fraction

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

from alula.core.dtype import DType
from alula.ir.op import OPS
from alula.ops.quantize import Dequantize, Quantize, QuantizeRows
from tests.ops.cases import infer, refusal

RANDOM = np.random.default_rng(0)
POWERS = (2.0**-9, 0.25, 1.0, 8.0)  # whose reciprocals are exact, so that ONNX's division is our product
ENDS = [np.inf, -np.inf, 3.4e38, -3.4e38, 1e-45, -1e-45, 0.0, -0.0]


def by_onnx(x: np.ndarray, scale: float, zero: int, op: str = "QuantizeLinear") -> np.ndarray:
    """QuantizeLinear or DequantizeLinear of ONNX Runtime."""
    node = helper.make_node(op, ["x", "scale", "zero"], ["y"])
    kinds = (("x", 1), ("y", 2)) if op == "QuantizeLinear" else (("x", 2), ("y", 1))
    ports = [helper.make_tensor_value_info(name, kind, ["n"]) for name, kind in kinds]
    numbers = [helper.make_tensor("scale", 1, [], [scale]), helper.make_tensor("zero", 2, [], [zero])]
    graph = helper.make_graph([node], "quantize", ports[:1], ports[1:], numbers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (y,) = session.run(None, {"x": x})
    return y


@pytest.mark.parametrize("zero", [0, 1, 128, 254, 255])
@pytest.mark.parametrize("scale", POWERS)
def test_against_onnx_runtime_ties_and_ends_included(scale: float, zero: int) -> None:
    levels = np.arange(-300, 600) / 2  # every second one is a tie
    nudged = [np.nextafter((levels * scale).astype(np.float32), np.float32(end)) for end in (-np.inf, np.inf)]
    x = np.concatenate([(levels * scale).astype(np.float32), *nudged, np.array(ENDS, np.float32)])
    got = Quantize(scale, zero).reference(x)
    assert got.dtype == np.uint8
    assert {0, 255} <= set(got.tolist())
    # ONNX adds the zero after it rounded to even: for an odd zero ties go the other way.
    tied = np.isin(x.astype(np.float64) / scale, np.arange(-300, 600, 2) / 2 + 0.5)
    keep = ~tied if zero % 2 else np.ones(len(x), bool)
    assert np.array_equal(got[keep], by_onnx(x, scale, zero)[keep])


def test_any_scale_within_a_step_of_onnx_runtime() -> None:
    x = RANDOM.standard_normal(20_000).astype(np.float32)
    got, wanted = Quantize(0.0173, 131).reference(x), by_onnx(x, 0.0173, 131)
    steps = np.abs(got.astype(int) - wanted)
    assert steps.max() <= 1
    assert (steps > 0).mean() < 1e-3


@pytest.mark.parametrize("zero", [0, 1, 100, 128, 254, 255])
@pytest.mark.parametrize("scale", [*POWERS, 0.0173, 3.7e-5, 2.0**-120, 1e30])
def test_bytes_back_to_numbers_as_in_onnx_runtime(scale: float, zero: int) -> None:
    levels = np.arange(256, dtype=np.uint8)
    got = Dequantize(scale, zero).reference(levels)
    assert got.dtype == np.float32
    assert got[zero] == 0
    assert got.tobytes() == by_onnx(levels, scale, zero, "DequantizeLinear").tobytes()
    assert Quantize(scale, zero).reference(got).tolist() == levels.tolist()


def test_rounded_once_ties_to_even_and_nan_is_0() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -130, 126.5, 127.5, 1e9, np.nan], np.float32)
    assert Quantize(1.0, 128).reference(x).tolist() == [128, 130, 130, 128, 126, 0, 254, 255, 255, 0]


def test_rows_are_levels_from_end_to_end() -> None:
    x = (RANDOM.standard_normal((2, 3, 20)) * 10.0 ** RANDOM.integers(-6, 7, (2, 3, 1))).astype(np.float32)
    x[0, 0] = 0
    x[0, 1] = np.abs(x[0, 1]) + 1  # 0 is an end
    x[0, 2] = -np.abs(x[0, 2])
    x[1, 0, 4:6] = 0
    q, scale, zero = QuantizeRows().reference(x)
    assert (q.dtype, q.shape) == (np.uint8, (2, 3, 20))
    assert {(one.dtype, one.shape) for one in (scale, zero)} == {(np.dtype(np.float32), (2, 3, 1))}
    assert (scale[0, 0], zero[0, 0], q[0, 0].tolist()) == (0, 0, [0] * 20)
    assert (zero[0, 1], zero[0, 2]) == (0, 255)
    assert q[1, 0, 4:6].tolist() == [zero[1, 0, 0]] * 2  # 0 stays 0
    rows = zip(*(array.reshape(6, -1)[1:] for array in (x, q, scale, zero)), strict=True)
    for row, levels, (step,), (middle,) in rows:
        span = Fraction(max(float(row.max()), 0.0)) - Fraction(min(float(row.min()), 0.0))
        assert abs(Fraction(float(step)) * 255 / span - 1) < Fraction(1, 1 << 22)
        assert middle == round(-min(float(row.min()), 0.0) / float(step))
        for value, level in zip(row, levels, strict=True):
            exact = Fraction(float(value)) * 255 / span + int(middle)
            assert abs(int(level) - exact) <= Fraction(1, 2) + Fraction(1, 1 << 14) or level in (0, 255)
        assert np.abs((levels.astype(float) - middle) * step - row).max() <= 1.0001 * step
        assert 255 in levels or 0 in levels


def test_rows_without_columns_have_scale_0() -> None:
    q, scale, zero = QuantizeRows().reference(np.zeros((3, 0), np.float32))
    assert q.shape == (3, 0)
    assert scale.tolist() == zero.tolist() == [[0]] * 3


def test_types_and_refusals() -> None:
    assert infer(Quantize(0.5, 3), "f32[N,4]") == "u8[N,4]"
    assert infer(Quantize(2.0**-120, 0), "f32[]") == "u8[]"
    assert infer(QuantizeRows(), "f32[N,4,C]") == "u8[N,4,C], f32[N,4,1], f32[N,4,1]"
    wanted = "expected a scale of 2**-120..2**120 and a zero of 0..255, got"
    for scale, zero in ((0.0, 0), (-1.0, 0), (float("inf"), 1), (1e-40, 2), (1.0, 256), (1.0, -1)):
        assert refusal(Quantize(scale, zero), "f32[N]") == f"{wanted} {scale}, {zero}"
    assert refusal(Quantize(1.0, 0), "bf16[N]") == "expected f32, got bf16[N]"
    assert refusal(QuantizeRows(), "u8[N,3]") == "expected f32, got u8[N,3]"
    assert refusal(QuantizeRows(), "f32[]") == "expected rank 1 or more, got f32[]"
    assert infer(Dequantize(0.5, 3), "u8[N,4]") == "f32[N,4]"
    for scale, zero in ((0.0, 0), (float("inf"), 1), (1.0, 256), (1.0, -1)):
        assert refusal(Dequantize(scale, zero), "u8[N]") == f"{wanted} {scale}, {zero}"
    assert refusal(Dequantize(1.0, 0), "f32[N]") == "expected u8, got f32[N]"
    assert refusal(Dequantize(1.0, 0), "i8[N]") == "expected u8, got i8[N]"
    kinds = {OPS[name] for name in ("quantize", "quantize_rows", "dequantize")}
    assert kinds == {Quantize, QuantizeRows, Dequantize}
    assert DType.of(Quantize(1.0, 0).reference(np.zeros(1, np.float32))) is DType.U8
