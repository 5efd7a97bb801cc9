"""Pooling as ONNX Runtime has it."""

import pytest

from tests.frontends.onnx.models import Case, case_agrees, normal, op_names

X = normal(2, 4, 9, 7)
ALL = {"kernel_shape": [3, 2], "strides": [2, 3], "pads": [1, 0, 1, 1]}

CASES = {
    "max": Case("MaxPool", [X], {"kernel_shape": [2, 2]}),
    "max, opset 7": Case("MaxPool", [X], ALL, opset=7),
    "max, ceil": Case("MaxPool", [X], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, opset=10),
    "max, dilations": Case("MaxPool", [X], {"kernel_shape": [3, 2], "dilations": [2, 3], "pads": [2, 1, 2, 1]}),
    "max, dilations and ceil": Case(
        "MaxPool", [X], {"kernel_shape": [2, 2], "dilations": [2, 2], "strides": [3, 2], "ceil_mode": 1}
    ),
    "max, same": Case("MaxPool", [X], {"kernel_shape": [3, 3], "auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "max, one axis": Case("MaxPool", [normal(2, 4, 9)], {"kernel_shape": [3], "strides": [2]}),
    "average": Case("AveragePool", [X], {"kernel_shape": [2, 2]}),
    "average, opset 7": Case("AveragePool", [X], ALL, opset=7),
    "average, padding counts": Case("AveragePool", [X], {**ALL, "count_include_pad": 1}),
    "average, ceil": Case("AveragePool", [X], {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}, opset=19),
    "average, dilations": Case("AveragePool", [X], {"kernel_shape": [2, 2], "dilations": [3, 2]}, opset=19),
    "average, same": Case("AveragePool", [X], {"kernel_shape": [2, 3], "auto_pad": "SAME_LOWER", "strides": [2, 2]}),
    "average, one axis": Case("AveragePool", [normal(2, 4, 9)], {"kernel_shape": [3], "strides": [2]}),
    "lp": Case("LpPool", [X], {"kernel_shape": [2, 3], "pads": [1, 1, 0, 1]}),
    "lp, 1": Case("LpPool", [X], {"kernel_shape": [2, 2], "p": 1}),
    "lp, 3": Case("LpPool", [X], {"kernel_shape": [2, 2], "p": 3}),
    "global average": Case("GlobalAveragePool", [X]),
    "global max": Case("GlobalMaxPool", [X]),
    "global lp": Case("GlobalLpPool", [X]),
    "lrn": Case("LRN", [X], {"size": 3, "alpha": 0.2, "beta": 0.6, "bias": 2.0}),
}


@pytest.mark.parametrize("name", CASES)
def test_forms(name, tmp_path):
    case_agrees(CASES[name], tmp_path, 4e-6)


def test_plain_windows_are_a_pool(tmp_path):
    assert op_names(case_agrees(CASES["max, ceil"], tmp_path)) == ["transpose", "max_pool2d", "transpose"]
