"""Numbers that count the batch: `as_strided` as PyTorch's exporter to ONNX writes it."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import alula
from alula.core.errors import UnsupportedOperator
from alula.ops.reference import run_reference

COLUMNS = 12


def strided(path, offsets=(0, 3, 7), step=COLUMNS, axes=(1,)):
    """x[N,12] at the same `offsets` of each row, by one index into the flattened tensor."""
    constants = {
        "zero": np.int64(0),
        "one": np.int64(1),
        "step": np.int64(step),
        "flat": np.array([-1]),
        "axes": np.array(axes),
        "offsets": np.array([offsets]),
    }
    nodes = [
        helper.make_node("Shape", ["x"], ["sizes"], end=1),
        helper.make_node("Squeeze", ["sizes"], ["batch"]),
        helper.make_node("Range", ["zero", "batch", "one"], ["rows"]),
        helper.make_node("Mul", ["step", "rows"], ["starts"]),
        helper.make_node("Unsqueeze", ["starts", "axes"], ["apart"]),
        helper.make_node("Add", ["apart", "offsets"], ["places"]),
        helper.make_node("Reshape", ["x", "flat"], ["line"]),
        helper.make_node("Gather", ["line", "places"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes,
        "strided",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", COLUMNS])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


@pytest.mark.parametrize("offsets", [(0, 3, 7), (11,), (2, 3, 4)], ids=str)
def test_the_same_places_of_each_image(offsets, tmp_path):
    graph = alula.from_onnx(strided(tmp_path / "m.onnx", offsets))
    x = np.random.default_rng(0).standard_normal((3, COLUMNS)).astype(np.float32)
    (y,) = run_reference(graph, [x])
    assert np.array_equal(y, x[:, list(offsets)])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"offsets": (0, 12)}, "Gather with an index outside the 12 elements of each in the batch"),
        ({"offsets": (-1,)}, "Gather with an index outside the 12 elements of each in the batch"),
        ({"step": 6}, r"Gather of f32\[N\*12\] at every 6 places"),
        ({"axes": (0,)}, "Unsqueeze before the axis that counts the batch"),
    ],
)
def test_anything_else_is_refused(change, text, tmp_path):
    with pytest.raises(UnsupportedOperator, match=text):
        alula.from_onnx(strided(tmp_path / "m.onnx", **change))


def test_other_operators_do_not_know_them(tmp_path):
    model = onnx.load(strided(tmp_path / "m.onnx"))
    model.graph.node.append(helper.make_node("Neg", ["places"], ["z"]))
    model.graph.output[0].name = "z"
    onnx.save(model, tmp_path / "m.onnx")
    with pytest.raises(UnsupportedOperator, match="Neg of numbers that count the batch"):
        alula.from_onnx(tmp_path / "m.onnx")
