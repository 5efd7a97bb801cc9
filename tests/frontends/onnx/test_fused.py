"""What ONNX Runtime's optimiser makes of several operators, against ONNX Runtime; and a real model after it."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from alula.core.errors import UnsupportedOperator
from alula.frontends.onnx import from_onnx
from alula.passes.pipeline import optimise
from tests.frontends.onnx.models import Case, agree, case_agrees, model, normal, of_case, op_names, saved, value

X, SKIP, SHIFT = normal(2, 5, 24), normal(2, 5, 24, seed=1), normal(24)
IMAGE, KERNEL, ADDED = normal(2, 4, 6, 5), normal(8, 4, 3, 3), normal(2, 8, 6, 5)
PADS = {"pads": [1, 1, 1, 1]}
HEADS = {"num_heads": 3}
CASES = {
    "Gelu": Case("Gelu", [X]),
    "BiasGelu": Case("BiasGelu", [X, SHIFT]),
    "FastGelu": Case("FastGelu", [X, SHIFT]),
    "FastGelu, alone": Case("FastGelu", [X]),
    "QuickGelu": Case("QuickGelu", [X], {"alpha": 1.3}),
    "FusedMatMul": Case("FusedMatMul", [normal(2, 24, 5), normal(2, 7, 24)], {"transA": 1, "transB": 1, "alpha": 0.3}),
    "FusedMatMul, plain": Case("FusedMatMul", [X, normal(24, 7)]),
    "FusedGemm": Case("FusedGemm", [normal(3, 4), normal(4, 5), normal(5)], {"activation": "Relu"}),
    "FusedGemm, leaky": Case(
        "FusedGemm", [normal(3, 4), normal(4, 5)], {"activation": "LeakyRelu", "activation_alpha": 0.3}
    ),
    "FusedConv": Case("FusedConv", [IMAGE, KERNEL, normal(8)], {"activation": "Relu", **PADS}),
    "FusedConv, added": Case("FusedConv", [IMAGE, KERNEL, normal(8), ADDED], {"activation": "Relu", **PADS}),
    "FusedConv, clipped": Case(
        "FusedConv", [IMAGE, KERNEL], {"activation": "Clip", "activation_params": [-0.5, 1.5], **PADS}
    ),
    "SkipLayerNormalization": Case("SkipLayerNormalization", [X, SKIP, normal(24, seed=2), SHIFT], {"epsilon": 1e-3}),
    "SkipLayerNormalization, biased": Case(
        "SkipLayerNormalization", [X * 1e-4, SKIP * 1e-4, normal(24, seed=2), None, SHIFT * 1e-4]
    ),
    "Attention": Case("Attention", [X, normal(24, 72), normal(72)], HEADS),
    "Attention, scaled": Case("Attention", [X, normal(24, 72), normal(72)], {**HEADS, "scale": 0.7}),
    "MultiHeadAttention": Case("MultiHeadAttention", [X, normal(2, 7, 24), normal(2, 7, 24, seed=3)], HEADS),
    "MultiHeadAttention, biased": Case("MultiHeadAttention", [X, SKIP, X * 2, normal(72)], HEADS),
}


@pytest.mark.parametrize("name", CASES)
def test_fused_operators(name: str, tmp_path: Path) -> None:
    case = CASES[name]
    case_agrees(replace(case, op=f"com.microsoft.{case.op}"), tmp_path, bound=1e-5)


def test_the_sum_before_a_norm_is_a_result(tmp_path: Path) -> None:
    proto, inputs = of_case(Case("com.microsoft.SkipLayerNormalization", [X, SKIP, SHIFT, SHIFT], results=4))
    proto.graph.node[0].output[1:3] = ["", ""]
    del proto.graph.output[1:3]
    agree(proto, inputs, tmp_path, bound=1e-5)


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (Case("FusedConv", [IMAGE, KERNEL], {"activation": "Elu", **PADS}), "with activation Elu of []"),
        (Case("FusedMatMul", [X, X], {"transBatchA": 1}), "with turned batches"),
        (Case("Attention", [X, normal(24, 72), SHIFT, np.ones((2, 5), np.int32)], HEADS), "with a mask"),
        (Case("Attention", [X, normal(24, 72)], {**HEADS, "unidirectional": 1}), "of rows that see only those before"),
        (Case("MultiHeadAttention", [normal(2, 3, 5, 8)] * 3, HEADS), "of f32[2,3,5,8]"),
    ],
)
def test_forms_that_are_refused(case: Case, message: str, tmp_path: Path) -> None:
    proto, _ = of_case(replace(case, op=f"com.microsoft.{case.op}"))
    with pytest.raises(UnsupportedOperator, match=re.escape(f"com.microsoft.{case.op} {message}")):
        from_onnx(saved(proto, tmp_path))


@pytest.mark.parametrize("operands", [["linear", "x"], ["x", "linear"]])
def test_a_bias_goes_to_the_linear_layer(operands: list[str], tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["linear"]),
        helper.make_node("SkipLayerNormalization", [*operands, "gamma", "beta", "bias"], ["y"], domain="com.microsoft"),
    ]
    weights = {"weight": normal(24, 24), "gamma": SHIFT, "beta": SHIFT, "bias": SHIFT}
    proto = model(nodes, [value("x", X)], [value("y", X)], 17, weights)
    assert op_names(optimise(agree(proto, {"x": X}, tmp_path, bound=1e-5))) == ["linear", "add", "layer_norm"]


def test_a_real_transformer_after_the_optimiser(shared_file, tmp_path: Path) -> None:
    from onnxruntime.transformers.optimizer import optimize_model

    source = shared_file("models/deit_tiny_patch16_224.onnx")
    fused = optimize_model(str(source), "vit", num_heads=3, hidden_size=192, opt_level=0)
    fused.save_model_to_file(str(tmp_path / "fused.onnx"))
    found = fused.get_fused_operator_statistics()
    assert {name for name, count in found.items() if count} >= {"SkipLayerNormalization"}
    plain, ours = (optimise(from_onnx(path)) for path in (source, tmp_path / "fused.onnx"))
    assert sorted(op_names(ours)) == sorted(op_names(plain))
