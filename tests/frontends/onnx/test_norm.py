"""Normalisations and softmax as ONNX Runtime has them."""

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper

from alula.core.errors import UnsupportedOperator
from alula.frontends.onnx import from_onnx
from alula.ops.reference import run_reference
from tests.frontends.onnx.models import Case, case_agrees, model, normal, of_case, op_names, saved, value

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


def test_statistics_of_the_batch_in_training(tmp_path):
    case = Case("BatchNormalization", [X, *C], {"training_mode": 1, "momentum": 0.8}, opset=15, results=3)
    graph = from_onnx(saved(of_case(case)[0], tmp_path))
    y, mean, variance = run_reference(graph, [X])
    scale, bias, old_mean, old_variance = (torch.from_numpy(c.copy()) for c in C)
    wanted = torch.nn.functional.batch_norm(torch.from_numpy(X), old_mean, old_variance, scale, bias, training=True)
    np.testing.assert_allclose(y, wanted.numpy(), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(mean, 0.8 * C[2] + 0.2 * X.mean((0, 2, 3)), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(variance, 0.8 * C[3] + 0.2 * X.var((0, 2, 3)), rtol=1e-5, atol=1e-6)


def test_softmax_of_halves_rounds_where_its_definition_does(tmp_path):
    half = X.astype(np.float16)
    graph = case_agrees(Case("Softmax", [half]), tmp_path, 2e-3)
    assert "softmax" not in op_names(graph)
    powers = np.exp(half - half.max(-1, keepdims=True))
    (got,) = run_reference(graph, [half])
    assert np.array_equal(got, powers / powers.sum(-1, keepdims=True, dtype=np.float32).astype(np.float16))


def test_softmax_of_bfloat16_is_refused(tmp_path):
    x = value("x", TensorProto.BFLOAT16, [2, 3])
    proto = model([helper.make_node("Softmax", ["x"], ["y"])], [x], [value("y", TensorProto.BFLOAT16, None)])
    with pytest.raises(UnsupportedOperator, match="Softmax of bf16, whose sum depends on the order of its terms"):
        from_onnx(saved(proto, tmp_path))


def test_before_opset_13_softmax_is_over_all_axes_from_one_on(tmp_path):
    assert op_names(case_agrees(CASES["softmax, opset 7"], tmp_path)) == ["reshape", "softmax", "reshape"]
