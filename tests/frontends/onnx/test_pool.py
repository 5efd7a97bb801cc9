"""Pooling as ONNX Runtime has it."""

import numpy as np
import pytest

from tests.frontends.onnx.models import Case, case_agrees, normal, op_names

X = normal(2, 4, 9, 7)
VOLUME, DEEP = normal(2, 3, 5, 7, 6), {"pads": [1, 0, 1, 0, 1, 1]}
POOLED, SPOTS = normal(1, 2, 2, 2), np.array([[[[0, 3], [9, 10]], [[16, 19], [25, 30]]]])
SHAPE = np.array([1, 2, 4, 4])
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
    **{
        f"{name}, three axes": Case(name, [VOLUME], {"kernel_shape": [2, 3, 2], "strides": [1, 2, 2], **DEEP})
        for name in ("MaxPool", "AveragePool")
    },
    "average, three axes, padding counts": Case(
        "AveragePool", [VOLUME], {"kernel_shape": [2, 3, 2], "count_include_pad": 1, **DEEP}
    ),
    "max, three axes, dilations": Case("MaxPool", [VOLUME], {"kernel_shape": [2, 2, 2], "dilations": [2, 1, 3]}),
    "max, places": Case("MaxPool", [X], ALL, results=2),
    "max, places by columns": Case("MaxPool", [X], {**ALL, "storage_order": 1, "dilations": [2, 1]}, results=2),
    "max, places of one axis": Case("MaxPool", [normal(2, 4, 9)], {"kernel_shape": [3], "strides": [2]}, results=2),
    "max taken back": Case("MaxUnpool", [POOLED, SPOTS], {"kernel_shape": [2, 2], "strides": [2, 2]}, constants=2),
    "max taken back to a shape": Case(
        "MaxUnpool", [POOLED, SPOTS, SHAPE], {"kernel_shape": [2, 2], "strides": [2, 2]}, constants=2
    ),
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
