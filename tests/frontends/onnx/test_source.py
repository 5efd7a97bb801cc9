"""Files: what is no model, damaged tensors, and external data that lies elsewhere."""

import os

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from alula.core.errors import ImportFailed
from alula.frontends.onnx import from_onnx
from tests.frontends.onnx.models import FLOAT, model, normal, saved, value

WEIGHT = normal(8, 2)
X, Y = value("x", FLOAT, ["n", 8]), value("y", FLOAT, None)


def with_weight(tensor):
    proto = model([helper.make_node("MatMul", ["x", "w"], ["y"])], [X], [Y])
    tensor.name = "w"
    proto.graph.initializer.append(tensor)
    return proto


def refusal(proto, folder):
    with pytest.raises(ImportFailed) as caught:
        from_onnx(saved(proto, folder))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def external(location, offset="0", length=None, dims=(8, 2)):
    tensor = TensorProto(data_type=FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, text in (("location", location), ("offset", offset), ("length", length)):
        if text is not None:
            tensor.external_data.add(key=key, value=text)
    return tensor


def test_files_that_are_no_models(tmp_path):
    for name, data in {"empty": b"", "text": b"hello", "cut": b"\x08\x07\x3a\xff", "zeros": bytes(99)}.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(ImportFailed, match=f"{name}: expected an ONNX model"):
            from_onnx(tmp_path / name)
    for name in ("missing", "."):
        with pytest.raises(ImportFailed, match="expected a readable file"):
            from_onnx(tmp_path / name)


@pytest.mark.parametrize("name", ["float16", "bfloat16", "uint8", "int32", "int64", "uint64", "double", "bool"])
def test_elements_as_bytes_and_as_numbers(name, tmp_path):
    code = TensorProto.DataType.Value(name.upper())
    numbers = np.array([0, 1, 1, 0])
    for raw in (False, True):
        if raw:
            dtype = helper.tensor_dtype_to_np_dtype(code)
            tensor = helper.make_tensor("c", code, [4], numbers.astype(dtype).tobytes(), raw=True)
        else:
            tensor = helper.make_tensor("c", code, [4], numbers)
        proto = model([helper.make_node("Cast", ["c"], ["y"], to=FLOAT)], [], [Y])
        proto.graph.initializer.append(tensor)
        graph = from_onnx(saved(proto, tmp_path))
        assert graph.outputs[0][1].data.tolist() == [0, 1, 1, 0]


def test_damaged_tensors(tmp_path):
    whole = numpy_helper.from_array(WEIGHT)
    short, huge, negative, sparse = (TensorProto() for _ in range(4))
    for tensor in (short, huge, negative, sparse):
        tensor.CopyFrom(whole)
    short.raw_data = short.raw_data[:-1]
    huge.dims[0] = 2**62
    negative.dims[0] = -8
    sparse.data_type = 99
    assert "tensor w: expected 64 bytes for 16 of f32, got 63" in refusal(with_weight(short), tmp_path)
    assert "tensor w: expected dimensions of 0..1099511627776" in refusal(with_weight(huge), tmp_path)
    assert "tensor w: expected dimensions of 0..1099511627776" in refusal(with_weight(negative), tmp_path)
    assert "tensor w: expected a boolean, integer or float type, got type 99" in refusal(with_weight(sparse), tmp_path)
    many = TensorProto(data_type=FLOAT, dims=[2**20, 2**20, 2**20, 2**20], raw_data=b"1234")
    assert "bytes for" in refusal(with_weight(many), tmp_path)


def test_external_data_inside_the_folder(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(b"12345678" + WEIGHT.tobytes())
    for length in (None, "64", "0"):
        graph = from_onnx(saved(with_weight(external("sub/w.bin", "8", length)), tmp_path))
        weight = next(v for v in graph.constants() if v.name == "w")
        assert np.array_equal(weight.data.T, WEIGHT)


@pytest.mark.parametrize(
    "kind", ["above", "absolute", "link", "folder link", "missing", "folder", "empty", "nul", "device"]
)
def test_external_data_elsewhere_is_refused(kind, tmp_path):
    folder, outside = tmp_path / "models", tmp_path / "secret.bin"
    folder.mkdir()
    outside.write_bytes(WEIGHT.tobytes())
    (folder / "link.bin").symlink_to(outside)
    (folder / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    location = {
        "above": "../secret.bin",
        "absolute": str(outside),
        "link": "link.bin",
        "folder link": "up/secret.bin",
        "missing": "none.bin",
        "folder": ".",
        "empty": "",
        "nul": "a\0b",
        "device": "pipe",
    }[kind]
    text = refusal(with_weight(external(location)), folder)
    assert text.startswith("onnx tensor w: expected external data inside the model's folder, got ")


@pytest.mark.parametrize(("offset", "length"), [("1", None), ("0", "63"), ("-1", None), ("x", None), ("9" * 30, None)])
def test_external_data_that_does_not_fit(offset, length, tmp_path):
    (tmp_path / "w.bin").write_bytes(WEIGHT.tobytes())
    assert "onnx tensor w: expected " in refusal(with_weight(external("w.bin", offset, length)), tmp_path)
