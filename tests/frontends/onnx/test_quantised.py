"""Quantised models as ONNX Runtime writes them: their products are of bytes, their answers ONNX Runtime's."""

import io
import re
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper
from PIL import Image

import alula
from alula.core.dtype import Array
from alula.core.errors import UnsupportedOperator
from alula.frontends.onnx import from_onnx
from alula.ir.verifier import verify
from alula.ops.reference import run_reference
from alula.passes.pipeline import optimise
from alula.runtime.summary import summary
from tests.frontends.onnx.models import FLOAT, Case, case_agrees, model, normal, of_case, runtime_answers, saved, value

DATA = Path(__file__).resolve().parents[4] / "shared" / "data"
MOBILENET = DATA / "models" / "mobilenet_v1_0.25_224.onnx"
PICTURES = DATA / "imagenet_val_650.zip"

RANDOM = np.random.default_rng(4)
STEP, ZERO = np.array(0.03, np.float32), np.array(119, np.uint8)
OUT, MIDDLE = np.array(1.7, np.float32), np.array(131, np.uint8)
STEPS = RANDOM.uniform(0.01, 0.1, 8).astype(np.float32)


def bytes_of(*shape: int) -> Array:
    return RANDOM.integers(0, 256, shape, np.uint8)


def signed(*shape: int) -> Array:
    return RANDOM.integers(-127, 128, shape).astype(np.int8)


PICTURE, KERNEL, ROWS, MATRIX = bytes_of(2, 8, 6, 5), signed(8, 8, 3, 3), bytes_of(4, 320), signed(320, 8)
NONE, BIAS = np.zeros(8, np.int8), RANDOM.integers(-5000, 5000, 8).astype(np.int32)
PADS = {"pads": [1, 0, 2, 1]}
CASES = {
    "conv": Case("QLinearConv", [PICTURE, STEP, ZERO, KERNEL, STEPS, NONE, OUT, MIDDLE, BIAS], PADS),
    "conv, signed": Case(
        "QLinearConv",
        [PICTURE.view(np.int8), STEP, np.int8(5).reshape(()), KERNEL, STEPS, NONE, OUT, np.int8(-3).reshape(())],
    ),
    "matmul": Case("QLinearMatMul", [ROWS, STEP, ZERO, MATRIX, STEPS, NONE, OUT, MIDDLE]),
    "sums of a matmul": Case("MatMulInteger", [ROWS, MATRIX, ZERO]),
    "sums of a matmul, signed": Case("MatMulInteger", [ROWS.view(np.int8), MATRIX]),
    "sums of a conv": Case("ConvInteger", [PICTURE, KERNEL, ZERO], PADS),
    "sums of a conv, signed": Case("ConvInteger", [PICTURE.view(np.int8), KERNEL]),
}


@pytest.mark.parametrize("name", CASES)
def test_products_of_bytes(name: str, tmp_path: Path) -> None:
    proto, _ = of_case(CASES[name])
    graph = optimise(from_onnx(saved(proto, tmp_path)))
    product = next(node for node in graph.nodes if node.op.name in ("conv2d", "linear"))
    assert [str(operand.type.dtype) for operand in product.inputs] == ["u8", "i8"]
    if "signed" not in name or "sums" in name:  # ONNX Runtime has no signed QLinearConv
        case_agrees(CASES[name], tmp_path)


def test_rows_that_are_no_whole_words_are_computed_in_float(tmp_path: Path) -> None:
    case_agrees(Case("MatMulInteger", [bytes_of(4, 6), signed(6, 3), ZERO]), tmp_path)


def test_pixels_between_two_levels_go_where_division_puts_them(tmp_path: Path) -> None:
    pixels = (np.arange(256, dtype=np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    case_agrees(Case("QuantizeLinear", [pixels, np.float32(2 / 255).reshape(()), np.uint8(127).reshape(())]), tmp_path)


LESS, FINE = np.array(0.1137, np.float32), np.array(0.02, np.float32)
SQUARE, TURNED = signed(8, 8), signed(8, 320)
SUMS = RANDOM.integers(-90000, 90000, 8).astype(np.int32)
FRACTION, LEAST = np.array(1 / 256, np.float32), np.array(0, np.uint8)
IMAGE = [PICTURE, STEP, ZERO, LESS, MIDDLE]
SHIFT = np.int8(-7).reshape(())
RUNTIMES = {
    "QLinearAdd": Case("QLinearAdd", [PICTURE, STEP, ZERO, bytes_of(8, 1, 1), LESS, MIDDLE, LESS, ZERO]),
    "QLinearAdd, signed": Case(
        "QLinearAdd", [signed(4, 8), STEP, SHIFT, signed(4, 8), LESS, np.int8(3).reshape(()), LESS, SHIFT]
    ),
    "QLinearMul": Case("QLinearMul", [PICTURE, STEP, ZERO, bytes_of(5), LESS, MIDDLE, OUT, ZERO]),
    "QLinearSigmoid": Case("QLinearSigmoid", [PICTURE, STEP, ZERO, FRACTION, LEAST]),
    "QLinearLeakyRelu": Case("QLinearLeakyRelu", IMAGE, {"alpha": 0.2}),
    "QLinearSoftmax": Case("QLinearSoftmax", [PICTURE, STEP, ZERO, FRACTION, LEAST], {"axis": 1, "opset": 13}),
    "QLinearSoftmax, old": Case("QLinearSoftmax", [ROWS, STEP, ZERO, FRACTION, LEAST], {"axis": 1, "opset": 11}),
    "QLinearAveragePool": Case(
        "QLinearAveragePool", IMAGE, {"kernel_shape": [3, 2], "strides": [2, 1], "pads": [1, 0, 1, 1]}
    ),
    "QLinearGlobalAveragePool": Case("QLinearGlobalAveragePool", IMAGE, {"channels_last": 0}),
    "QLinearConcat": Case(
        "QLinearConcat", [LESS, ZERO, PICTURE, STEP, ZERO, bytes_of(2, 3, 6, 5), FINE, MIDDLE], {"axis": 1}
    ),
    "QGemm": Case("QGemm", [ROWS, STEP, ZERO, MATRIX, STEPS, NONE, SUMS, OUT, MIDDLE], {"alpha": 0.5}),
    "QGemm, turned": Case("QGemm", [bytes_of(4, 8), STEP, ZERO, SQUARE, STEPS, NONE, SUMS, OUT, MIDDLE], {"transB": 1}),
    "QGemm, one scale": Case("QGemm", [ROWS, STEP, ZERO, TURNED, FINE, SHIFT, None, OUT, MIDDLE], {"transB": 1}),
    "QGemm, float": Case("QGemm", [ROWS, STEP, ZERO, MATRIX, STEPS, NONE, SUMS]),
    "QuantizeLinear": Case("QuantizeLinear", [normal(4, 6), FINE, MIDDLE]),
    "DequantizeLinear": Case("DequantizeLinear", [ROWS, STEP, ZERO]),
}


@pytest.mark.parametrize("name", RUNTIMES)
def test_operators_of_onnx_runtime(name: str, tmp_path: Path) -> None:
    """A level is another where a number lies between two, for ONNX Runtime multiplies by one rounded factor."""
    case = RUNTIMES[name]
    proto, inputs = of_case(replace(case, op=f"com.microsoft.{case.op}"))
    graph = from_onnx(saved(proto, tmp_path))
    verify(graph)
    (ours,), (theirs,) = run_reference(graph, list(inputs.values())), runtime_answers(proto, inputs)
    assert (ours.dtype, ours.shape) == (theirs.dtype, theirs.shape)
    if theirs.dtype == np.float32:
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-4)
        return
    apart = np.abs(ours.astype(int) - theirs.astype(int))
    assert apart.max() <= 1
    assert np.mean(apart) <= 0.02
    assert len(np.unique(theirs)) > 3


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case("QLinearGlobalAveragePool", IMAGE, {"channels_last": 1}), "with channels last"),
        (Case("QLinearSoftmax", IMAGE, {"axis": 1, "opset": 11}), "over the axes from 1 on"),
        (Case("QLinearConcat", [LESS, ZERO, PICTURE, STEP], {"axis": 1}), "of 2 operands: tensors, scales and zeros"),
        (Case("QLinearReduceMean", IMAGE, {"axes": [1], "keepdims": 1}), ""),
    ],
)
def test_operators_of_onnx_runtime_that_are_refused(case: Case, message: str, tmp_path: Path) -> None:
    proto, _ = of_case(replace(case, op=f"com.microsoft.{case.op}"))
    with pytest.raises(UnsupportedOperator, match=re.escape(f"com.microsoft.{case.op} {message}".strip())):
        from_onnx(saved(proto, tmp_path))


def network() -> onnx.ModelProto:
    """A stem that pads, a block with a shortcut, a maximum, a depthwise convolution and a head, in float32."""
    weights = {
        "stem": normal(8, 3, 3, 3),
        "first": normal(8, 8, 3, 3) / 4,
        "each": normal(8, 1, 3, 3),
        "head": normal(8, 10),
        "sides": np.array([0, 0, 0, 0, 0, 0, 1, 1], np.int64),
        "shift": normal(8),
    }
    nodes = [
        helper.make_node("Pad", ["x", "sides"], ["padded"]),
        helper.make_node("Conv", ["padded", "stem", "shift"], ["a"], strides=[2, 2]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "first"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["b", "c"], ["d"]),
        helper.make_node("MaxPool", ["d"], ["e"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Conv", ["e", "each"], ["f"], group=8, pads=[1, 1, 1, 1]),
        helper.make_node("GlobalAveragePool", ["f"], ["g"]),
        helper.make_node("Flatten", ["g"], ["h"]),
        helper.make_node("MatMul", ["h", "head"], ["y"]),
    ]
    return model(nodes, [value("x", FLOAT, ["n", 3, 16, 16])], [value("y", FLOAT, ["n", 10])], 17, weights)


def quantised(
    source: Path, target: Path, images: Sequence[Array], symmetric: bool, form: str = "QDQ"
) -> onnx.ModelProto:
    """ONNX Runtime's, as pairs or as operators: weights by channel, activations unsigned or symmetric and signed."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    name = onnx.load(source).graph.input[0].name

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.inputs = iter([{name: image} for image in images])

        def get_next(self) -> dict[str, Array] | None:
            return next(self.inputs, None)

    quantize_static(
        source,
        target,
        Reader(),
        quant_format=QuantFormat[form],
        activation_type=QuantType.QInt8 if symmetric else QuantType.QUInt8,
        per_channel=True,
        extra_options={"ActivationSymmetric": symmetric},
    )
    return onnx.load(target)


def answers(path: Path, images: Sequence[Array]) -> tuple[Array, Array, float]:
    """Ours, ONNX Runtime's with each node by itself, and our share of multiply-adds in bytes."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    runtime = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = runtime.get_inputs()[0].name
    built = path.with_suffix(".alula")
    alula.build(from_onnx(path)).save(built)
    with alula.load(built, threads=1) as session:
        ours = [session.run(image)[0] for image in images]
    theirs = [runtime.run(None, {name: image})[0] for image in images]
    return np.concatenate(ours), np.concatenate(theirs), summary(built)["int8_mac_fraction"]


@pytest.mark.parametrize("symmetric", [False, True])
def test_pairs_around_everything(symmetric: bool, tmp_path: Path) -> None:
    images = [normal(1, 3, 16, 16, seed=seed) for seed in range(12)]
    proto = quantised(saved(network(), tmp_path), tmp_path / "quantised.onnx", images[:4], symmetric)
    graph = optimise(from_onnx(tmp_path / "quantised.onnx"))
    products = [node for node in graph.nodes if node.op.name in ("conv2d", "linear", "depthwise_conv2d")]
    assert [str(node.inputs[0].type.dtype) for node in products] == ["u8"] * 4
    assert [str(node.inputs[1].type.dtype) for node in products] == ["i8", "i8", "i16", "i8"]
    assert [node.op.name for node in graph.nodes if node.op.name in ("pad", "transpose")] == [
        "transpose"
    ]  # the input's
    assert next(node for node in graph.nodes if node.op.name == "max_pool2d").output.type.dtype.value == "u8"
    ours, theirs, fraction = answers(tmp_path / "quantised.onnx", images)
    step = next(float(onnx.numpy_helper.to_array(t)) for t in proto.graph.initializer if t.name == "y_scale")
    assert np.abs(ours - theirs).max() <= 1.01 * step
    assert np.mean(ours != theirs) < 0.05  # a level is another where a sum lies between two
    assert fraction > 0.9


def test_operators_around_everything(tmp_path: Path) -> None:
    """The same in ONNX Runtime's other format, whose sums and means are operators of its own."""
    images = [normal(1, 3, 16, 16, seed=seed) for seed in range(12)]
    path = tmp_path / "quantised.onnx"
    proto = quantised(saved(network(), tmp_path), path, images[:4], False, "QOperator")
    assert {"QLinearAdd", "QLinearGlobalAveragePool"} <= {n.op_type for n in proto.graph.node if n.domain}
    graph = optimise(from_onnx(path))
    products = [node for node in graph.nodes if node.op.name in ("conv2d", "linear", "depthwise_conv2d")]
    assert [str(node.inputs[0].type.dtype) for node in products] == ["u8"] * 4
    assert [str(node.inputs[1].type.dtype) for node in products] == ["i8", "i8", "i16", "i8"]
    ours, theirs, fraction = answers(path, images)
    last = next(node for node in proto.graph.node if "y" in node.output)
    step = next(float(onnx.numpy_helper.to_array(t)) for t in proto.graph.initializer if t.name == last.input[1])
    assert np.abs(ours - theirs).max() <= 1.01 * step
    assert fraction > 0.9


def test_rounding_while_running(tmp_path: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    weights = {"first": normal(32, 320) / 9, "second": normal(320, 10) / 9}
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["y"]),
    ]
    source = saved(model(nodes, [value("x", FLOAT, [7, 32])], [value("y", FLOAT, [7, 10])], 17, weights), tmp_path)
    quantize_dynamic(source, tmp_path / "dynamic.onnx", per_channel=True, weight_type=QuantType.QInt8)
    proto, x = onnx.load(tmp_path / "dynamic.onnx"), normal(7, 32)
    graph = from_onnx(tmp_path / "dynamic.onnx")
    built = tmp_path / "dynamic.alula"
    alula.build(graph).save(built)
    with alula.load(built, threads=1) as session:
        (ours,) = session.run(x)
    np.testing.assert_allclose(ours, runtime_answers(proto, {"x": x})[0], rtol=0, atol=1e-3)
    assert summary(built)["int8_mac_fraction"] == 1


def test_a_trained_model(tmp_path: Path) -> None:
    if not MOBILENET.exists() or not PICTURES.exists():
        pytest.skip(f"{MOBILENET.name} and {PICTURES.name}: expected in ../shared/data, got none")
    images = pictures(12)
    proto = quantised(MOBILENET, tmp_path / "quantised.onnx", images[:4], False)
    ours, theirs, fraction = answers(tmp_path / "quantised.onnx", images[4:])
    step = next(float(onnx.numpy_helper.to_array(t)) for t in proto.graph.initializer if t.name == "logits_scale")
    assert np.sum(ours.argmax(axis=1) == theirs.argmax(axis=1)) >= 7  # of 8: a level may decide
    assert np.abs(ours - theirs).mean() <= step / 2
    assert fraction > 0.85  # the rest is depthwise


def pictures(count: int) -> list[Array]:
    """The middle 224 pixels of validation pictures, as the model takes them."""
    found = []
    with zipfile.ZipFile(PICTURES) as archive:
        for name in [name for name in archive.namelist() if name.lower().endswith((".jpg", ".jpeg"))][:count]:
            pixels = np.asarray(Image.open(io.BytesIO(archive.read(name))).convert("RGB"), np.float32)
            top, left = ((size - 224) // 2 for size in pixels.shape[:2])
            cropped = pixels[top : top + 224, left : left + 224]
            found.append(np.ascontiguousarray(((cropped / 255 - 0.5) / 0.5).transpose(2, 0, 1)[None]))
    return found
