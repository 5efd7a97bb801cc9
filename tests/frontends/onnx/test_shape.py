"""What moves elements, as ONNX Runtime moves them."""

import numpy as np
import pytest

from alula.core.errors import UnsupportedOperator
from alula.frontends.onnx import from_onnx
from tests.frontends.onnx.models import INT64, Case, case_agrees, ints, normal, of_case, op_names, saved

X = normal(2, 6, 4)
LARGEST = 2**63 - 1

CASES = {
    "reshape": Case("Reshape", [X, ints(0, -1, 2)]),
    "reshape, allowzero": Case("Reshape", [normal(0, 3), ints(3, 0)], {"allowzero": 1}),
    "flatten": Case("Flatten", [X]),
    "flatten from the end": Case("Flatten", [X], {"axis": -1}),
    "squeeze": Case("Squeeze", [normal(1, 3, 1), ints(-1)]),
    "squeeze all": Case("Squeeze", [normal(1, 3, 1)]),
    "squeeze, opset 11": Case("Squeeze", [normal(1, 3, 1)], {"axes": [0]}, opset=11),
    "unsqueeze": Case("Unsqueeze", [X, ints(0, -1)]),
    "unsqueeze, opset 11": Case("Unsqueeze", [X], {"axes": [1]}, opset=11),
    "transpose": Case("Transpose", [X], {"perm": [2, 0, 1]}),
    "transpose all": Case("Transpose", [X]),
    "expand": Case("Expand", [normal(6, 1), ints(2, 1, 4)]),
    "tile": Case("Tile", [X, ints(2, 1, 3)]),
    "slice, opset 7": Case("Slice", [X], {"starts": [1, -3], "ends": [2, LARGEST], "axes": [0, 2]}, opset=7),
    "slice": Case("Slice", [X, ints(1, -3), ints(5, 9), ints(1, 2), ints(2, 1)]),
    "slice all axes": Case("Slice", [X, ints(0, 1, 2), ints(1, 9, 4)]),
    "slice backwards": Case("Slice", [X, ints(-1), ints(-LARGEST), ints(1), ints(-2)]),
    "slice of nothing": Case("Slice", [X, ints(4), ints(2), ints(1)]),
    "split": Case("Split", [X, ints(1, 5)], {"axis": 1}, results=2),
    "split, opset 11": Case("Split", [X], {"axis": 2, "split": [1, 3]}, opset=11, results=2),
    "split evenly": Case("Split", [X], {"axis": 1}, opset=13, results=3),
    "split unevenly": Case("Split", [X], {"axis": 1, "num_outputs": 4}, opset=18, results=4),
    "concat": Case("Concat", [X, normal(2, 1, 4)], {"axis": -2}, constants=2),
    "pad, opset 7": Case("Pad", [X], {"pads": [0, 1, 2, 1, 0, 3], "value": 2.0}, opset=7),
    "pad": Case("Pad", [X, ints(0, 1, 2, 1, 0, -1), np.array(3, np.float32)]),
    "pad axes": Case("Pad", [X, ints(1, 2), None, ints(-1)], opset=18),
    "pad by reflection": Case("Pad", [X, ints(0, 2, 1, 0, 3, 3)], {"mode": "reflect"}),
    "pad by the edge": Case("Pad", [X, ints(0, 2, 1, 1, 3, 5)], {"mode": "edge"}),
    "pad by wrapping": Case("Pad", [X, ints(0, 2, 1, 0, 3, 3)], {"mode": "wrap"}, opset=19),
    "depth to space": Case("DepthToSpace", [normal(2, 8, 3, 2)], {"blocksize": 2}),
    "depth to space, CRD": Case("DepthToSpace", [normal(2, 8, 3, 2)], {"blocksize": 2, "mode": "CRD"}),
    "space to depth": Case("SpaceToDepth", [normal(2, 3, 4, 6)], {"blocksize": 2}),
    "cast": Case("Cast", [X * 9], {"to": INT64}),
    "cast of i64": Case("Cast", [ints(0, 3, -4)], {"to": 1}),
    "identity": Case("Identity", [X]),
    "dropout": Case("Dropout", [X]),
    "dropout, opset 7": Case("Dropout", [X], {"ratio": 0.3}, opset=7),
    "dropout with its mask": Case("Dropout", [X], results=2),
}


@pytest.mark.parametrize("name", CASES)
def test_forms(name, tmp_path):
    case_agrees(CASES[name], tmp_path)


def test_a_part_is_a_slice_and_nothing_is_done_for_all_of_it(tmp_path):
    assert op_names(case_agrees(CASES["split"], tmp_path)) == ["slice", "slice"]
    assert op_names(case_agrees(Case("Slice", [X, ints(0), ints(LARGEST)]), tmp_path)) == []


@pytest.mark.parametrize(
    ("case", "text"),
    [
        (Case("Reshape", [X, ints(5, -1)]), "Reshape of f32[2,6,4] to [5, -1] (at node)"),
        (Case("Reshape", [X, ints(2, 24)], constants=2), "Reshape with a shape that is not constant (at node)"),
        (Case("Split", [X, ints(1, 4)], {"axis": 1}, results=2), "Split with pieces [1, 4] of 6 elements (at node)"),
        (Case("Concat", [X, X], {"axis": 3}, constants=2), "Concat with axis 3 of rank 3 (at node)"),
        (Case("Cast", [X], {"to": 8}), "Cast to type 8 (at node)"),
        (Case("Identity", [X], {"colour": 3}), "Identity with attribute colour (at node)"),
        (Case("Transpose", [X, X]), "Transpose with these operands: too many positional arguments (at node)"),
    ],
)
def test_refusals(case, text, tmp_path):
    with pytest.raises(UnsupportedOperator) as caught:
        from_onnx(saved(of_case(case)[0], tmp_path))
    assert str(caught.value) == f"onnx model.onnx: expected operators that Alula knows, got {text}"
