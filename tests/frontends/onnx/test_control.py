"""Loops that are unrolled, as ONNX Runtime runs them."""

import numpy as np
import pytest
from onnx import helper

from alula.core.errors import UnsupportedOperator
from alula.frontends.onnx import from_onnx
from tests.frontends.onnx.models import BOOL, FLOAT, INT64, agree, model, normal, op_names, saved, value

X = normal(4, 3)


def node(op, operands, results, **attributes):
    return helper.make_node(op, operands, results, **attributes)


def body(nodes, inputs, outputs):
    kinds = {"turn": INT64, "going": BOOL, "on": BOOL}
    values = [
        [value(name, kinds.get(name, FLOAT), [] if name in kinds else None) for name in names]
        for names in (inputs, outputs)
    ]
    return helper.make_graph(nodes, "body", *values)


def looped(nodes, going="", on="going", turns=3):
    inner = body([*nodes, node("Identity", [on], ["on"])], ["turn", "going", "s"], ["on", "t", "u"])
    loop = node("Loop", ["turns", going, "x"], ["y", "z"], body=inner)
    weights = {"turns": np.array(turns), "yes": np.array(True), "half": np.float32(0.5)}
    outputs = [value("y", FLOAT, None), value("z", FLOAT, None)]
    return model([loop], [value("x", FLOAT, [4, 3])], outputs, 17, weights)


GROWING = [
    node("Mul", ["s", "half"], ["h"]),
    node("Add", ["h", "x"], ["t"]),
    node("Cast", ["turn"], ["number"], to=FLOAT),
    node("Mul", ["t", "number"], ["u"]),
]


def test_a_number_of_turns(tmp_path):
    graph = agree(looped(GROWING), {"x": X}, tmp_path)
    assert op_names(graph).count("add") == 3


def test_a_condition_that_ends(tmp_path):
    nodes = [*GROWING, node("Less", ["turn", "last"], ["again"])]
    proto = looped(nodes, "yes", "again", 9)
    proto.graph.initializer.append(helper.make_tensor("last", INT64, [], [1]))
    assert op_names(agree(proto, {"x": X}, tmp_path)).count("add") == 2


def test_a_condition_of_a_run_is_refused(tmp_path):
    nodes = [*GROWING, node("ReduceMax", ["t"], ["m"], keepdims=0), node("Less", ["m", "half"], ["again"])]
    with pytest.raises(UnsupportedOperator, match="Loop with a condition that is not constant"):
        from_onnx(saved(looped(nodes, "yes", "again"), tmp_path))


def test_what_is_unknown_inside_is_named(tmp_path):
    with pytest.raises(UnsupportedOperator, match="got Nonsense"):
        from_onnx(saved(looped([node("Nonsense", ["s"], ["t"]), node("Relu", ["t"], ["u"])]), tmp_path))


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"scan_input_directions": [1, 0]},
        {"scan_input_axes": [1, 0], "scan_output_axes": [1], "scan_output_directions": [1]},
    ],
)
def test_scans(attributes, tmp_path):
    nodes = [node("Add", ["s", "a"], ["t"]), node("Mul", ["t", "b"], ["u"])]
    inner = body(nodes, ["s", "a", "b"], ["t", "u"])
    rows = 3 if "scan_input_axes" in attributes else 4
    scan = node("Scan", ["start", "x", "w"], ["y", "z"], body=inner, num_scan_inputs=2, **attributes)
    inputs = [value("x", FLOAT, [4, 3])]
    weights = {"start": normal(7 - rows), "w": normal(rows, 1)}
    outputs = [value("y", FLOAT, None), value("z", FLOAT, None)]
    agree(model([scan], inputs, outputs, 17, weights), {"x": X}, tmp_path)
