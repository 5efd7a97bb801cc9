"""ONNX files whose inputs decide sizes, run with values of all kinds, against ONNX Runtime."""

import numpy as np
import onnxruntime
import pytest
from onnx import helper

import alula
from alula.core.errors import ShapeError, UnsupportedOperator
from tests.frontends.onnx.models import FLOAT, INT64, ints, model, normal, saved, value

X = value("x", FLOAT, ["n", 4, 6])
Y = value("y", FLOAT, None)


def node(op, operands, **attributes):
    return helper.make_node(op, operands, ["y"], **attributes)


MODELS = {
    "reshape": (node("Reshape", ["x", "s"]), value("s", INT64, [3]), [ints(0, 3, 8), ints(0, -1, 2), ints(0, 3, 8)]),
    "resize": (
        node("Resize", ["x", "", "", "s"], mode="linear"),
        value("s", INT64, [3]),
        [ints(2, 4, 9), ints(2, 8, 3)],
    ),
    "tile": (node("Tile", ["x", "s"]), value("s", INT64, [3]), [ints(1, 2, 1), ints(1, 1, 3)]),
}


@pytest.mark.parametrize("name", MODELS)
def test_values_that_decide_sizes(name, tmp_path):
    operator, second, values = MODELS[name]
    fixed = value("x", FLOAT, [2, 4, 6]) if name == "resize" else X
    path, x = saved(model([operator], [fixed, second], [Y]), tmp_path), normal(2, 4, 6)
    theirs = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with alula.OnnxSession(path, threads=1) as session:
        assert session.deciding == frozenset()
        for sizes in values:
            (got,) = session.run(x, sizes)
            (wanted,) = theirs.run(None, {"x": x, "s": sizes})
            np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)
        assert session.deciding == {"s"}
        assert len(session._programs) == len({tuple(sizes) for sizes in values})


def test_values_reach_sizes_through_arithmetic(tmp_path):
    nodes = [helper.make_node("Add", ["a", "b"], ["s"]), node("Expand", ["x", "s"])]
    inputs = [value("x", FLOAT, [1, 6]), value("a", INT64, [2]), value("b", INT64, [2])]
    path = saved(model(nodes, inputs, [Y]), tmp_path)
    with alula.OnnxSession(path, threads=1) as session:
        x = normal(1, 6)
        assert np.array_equal(session.run(x, ints(1, 3), ints(2, 3))[0], np.repeat(x, 3, 0))
        assert session.deciding == {"a", "b"}


def test_what_decides_nothing_has_one_program(tmp_path):
    path = saved(model([node("Add", ["x", "x"])], [X], [Y]), tmp_path)
    with alula.OnnxSession(path, threads=1) as session:
        for batch in (1, 3):
            x = normal(batch, 4, 6)
            assert np.array_equal(session.run(x)[0], x + x)
        assert (len(session._programs), session.deciding) == (1, frozenset())
        with pytest.raises(ShapeError, match="expected 1 arrays, got 2"):
            session.run(x, x)


def test_old_programs_go(tmp_path, monkeypatch):
    monkeypatch.setattr("alula.specialise.MOST_PROGRAMS", 2)
    path = saved(model([node("Tile", ["x", "s"])], [X, value("s", INT64, [3])], [Y]), tmp_path)
    with alula.OnnxSession(path, threads=1) as session:
        for times in (1, 2, 3, 1):
            assert session.run(normal(1, 4, 6), ints(1, times, 1))[0].shape == (1, 4 * times, 6)
        assert len(session._programs) == 2


def test_what_no_value_helps_is_refused(tmp_path):
    nodes = [helper.make_node("Nonsense", ["x"], ["z"]), node("Reshape", ["z", "s"])]
    path = saved(model(nodes, [X, value("s", INT64, [3])], [Y]), tmp_path)
    with alula.OnnxSession(path) as session, pytest.raises(UnsupportedOperator, match="got Nonsense"):
        session.run(normal(1, 4, 6), ints(0, 3, 8))
