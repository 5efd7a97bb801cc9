"""Normalisations and softmax as ONNX Runtime has them."""

import numpy as np
import pytest

from tests.frontends.onnx.models import Case, case_agrees, normal, op_names

X = normal(2, 6, 5, 3)
C = [normal(6), normal(6, seed=1), normal(6, seed=2), np.abs(normal(6, seed=3))]

CASES = {
    "batch": Case("BatchNormalization", [X, *C], {"epsilon": 1e-3}),
    "batch, opset 7": Case("BatchNormalization", [X, *C], opset=7),
    "batch, opset 9": Case("BatchNormalization", [X, *C], {"momentum": 0.8}, opset=9),
    "batch of vectors": Case("BatchNormalization", [normal(4, 6), *C]),
    "batch of one axis": Case("BatchNormalization", [normal(4, 6, 5), *C]),
    "layer": Case("LayerNormalization", [X, normal(3), normal(3, seed=1)]),
    "layer without bias": Case("LayerNormalization", [X, normal(3)], {"epsilon": 1e-2}),
    "layer over two axes": Case("LayerNormalization", [X, normal(5, 3), normal(5, 3, seed=1)], {"axis": 2}),
    "layer with its statistics": Case("LayerNormalization", [X, normal(3), normal(3, seed=1)], results=3),
    "instance": Case("InstanceNormalization", [X, *C[:2]]),
    "group, one a channel": Case("GroupNormalization", [X, *C[:2]], {"num_groups": 3}, opset=21),
    "lp, 1": Case("LpNormalization", [X], {"p": 1, "axis": 1}),
    "lp, 2": Case("LpNormalization", [X]),
    "mean and variance": Case("MeanVarianceNormalization", [X]),
    "softmax": Case("Softmax", [X]),
    "softmax along 1": Case("Softmax", [X], {"axis": 1}),
    "softmax, opset 7": Case("Softmax", [X], opset=7),
    "softmax, opset 11": Case("Softmax", [X], {"axis": 2}, opset=11),
    "log softmax": Case("LogSoftmax", [X], {"axis": 2}),
    "log softmax, opset 9": Case("LogSoftmax", [X], opset=9),
    "hardmax": Case("Hardmax", [X], {"axis": 1}),
    "hardmax, opset 9": Case("Hardmax", [X], opset=9),
}


@pytest.mark.parametrize("name", CASES)
def test_forms(name, tmp_path):
    case_agrees(CASES[name], tmp_path, 5e-6)


def test_before_opset_13_softmax_is_over_all_axes_from_one_on(tmp_path):
    assert op_names(case_agrees(CASES["softmax, opset 7"], tmp_path)) == ["reshape", "softmax", "reshape"]
