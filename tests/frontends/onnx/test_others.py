"""Reductions, products, indexing, quantisation and resizing as ONNX Runtime has them."""

import numpy as np
import pytest

from tests.frontends.onnx.models import Case, case_agrees, ints, normal, op_names

X = normal(2, 3, 5)
A, B = normal(2, 4, 3), normal(2, 3, 5, seed=1)
PLACES = ints(2, 0, -1)
PLACED = np.array([[[0, 1], [-1, 0]], [[1, 1], [0, -2]]])
U8 = np.random.default_rng(0).integers(0, 256, (4, 6), np.uint8)
ONE = np.array(0.25, np.float32)
REDUCTIONS = ["Sum", "Mean", "Max", "Min", "L1", "L2", "SumSquare", "LogSumExp", "Prod"]

REDUCE = {
    **{f"{n}, all": Case(f"Reduce{n}", [X]) for n in REDUCTIONS},
    **{f"{n}, attribute": Case(f"Reduce{n}", [X], {"axes": [1, -1], "keepdims": 0}, opset=11) for n in REDUCTIONS},
    **{f"{n}, operand": Case(f"Reduce{n}", [X, ints(1)], opset=18) for n in REDUCTIONS},
    "nothing": Case("ReduceSum", [X, ints()], {"noop_with_empty_axes": 1}),
    "booleans": Case("ReduceMax", [X > 0.5, ints(1)], opset=20),
    "booleans, least": Case("ReduceMin", [X > -0.5, ints(1)], opset=20),
    "product of none": Case("ReduceProd", [X[:, :0], ints(1)], opset=18),
    "log of sum": Case("ReduceLogSum", [np.abs(X)], {"axes": [1]}, opset=13),
}
PRODUCTS = {
    "weight": Case("MatMul", [A, normal(3, 6)]),
    "two": Case("MatMul", [A, B], constants=2),
    "broadcast": Case("MatMul", [normal(2, 1, 4, 3), normal(5, 3, 2)], constants=2),
    "vector on the right": Case("MatMul", [A, normal(3)], constants=2),
    "vector on the left": Case("MatMul", [normal(3), B], constants=2),
    "vectors": Case("MatMul", [normal(3), normal(3, seed=2)], constants=2),
    "gemm": Case("Gemm", [normal(4, 3), normal(6, 3), normal(6)], {"transB": 1}),
    "gemm, all": Case(
        "Gemm", [normal(3, 4), normal(3, 6), normal(4, 1)], {"transA": 1, "alpha": 0.5, "beta": 2.0}, constants=3
    ),
    "gemm, opset 7": Case("Gemm", [normal(4, 3), normal(3, 6), normal(6)], opset=7),
    "einsum": Case("Einsum", [A, B], {"equation": "bij, bjk -> bik"}, constants=2),
    "einsum, implicit": Case("Einsum", [normal(4, 3), normal(3, 2)], {"equation": "ij,jk"}, constants=2),
    "einsum, dots": Case(
        "Einsum", [normal(2, 5, 4, 3), normal(1, 5, 3, 6)], {"equation": "...ij,...jk->...ik"}, constants=2
    ),
    "einsum, sum": Case("Einsum", [A], {"equation": "bij->j"}),
    "einsum, three": Case("Einsum", [A, B, normal(5)], {"equation": "bij,bjk,k->ib"}, constants=3),
}
INDEXING = {
    "gather": Case("Gather", [X, PLACES], {"axis": 1}),
    "gather one": Case("Gather", [X, np.array(1)], {"axis": 2}),
    "gather evenly": Case("Gather", [X, ints(0, 2, 4)], {"axis": 2}),
    "gather of a run": Case("Gather", [X, np.array([[2, 0], [-1, 1]])], {"axis": 1}, constants=2),
    "gather elements": Case("GatherElements", [X, np.array([[[0, -1], [1, 0]]])], {"axis": 2}, constants=2),
    "gather nd": Case("GatherND", [X, np.array([[0, 1], [1, -1]])], constants=2),
    "gather nd in batches": Case("GatherND", [X, np.array([[1], [-1]])], {"batch_dims": 1}, constants=2),
    **{
        f"scatter elements, {reduction}": Case(
            "ScatterElements", [X, PLACED, normal(2, 2, 2)], {"axis": 1, "reduction": reduction}, 18, constants=3
        )
        for reduction in ("none", "add", "mul", "max", "min")
    },
    "scatter elements, all": Case("ScatterElements", [X, PLACED, normal(2, 2, 2)], opset=11, constants=3),
    "scatter elements, opset 9": Case("Scatter", [X, PLACED, normal(2, 2, 2)], {"axis": 2}, opset=9, constants=3),
    **{
        f"scatter nd, {reduction}": Case(
            "ScatterND", [X, np.array([[0, 1], [1, -1], [0, 1]]), normal(3, 5)], {"reduction": reduction}, 18, 3
        )
        for reduction in ("add", "mul", "max", "min")
    },
    "scatter nd": Case("ScatterND", [X, np.array([[[0], [1]]]), normal(1, 2, 3, 5)], constants=3),
    "top": Case("TopK", [X, ints(2)], {"axis": 1}, results=2),
    "bottom": Case("TopK", [np.round(X), ints(4)], {"largest": 0}, results=2),
    "top, opset 7": Case("TopK", [X], {"k": 3}, opset=7, results=2),
    "top of integers": Case("TopK", [np.arange(-4, 6), ints(3)], results=2),
    "argmax": Case("ArgMax", [X], {"axis": 1}),
    "argmax, last": Case("ArgMax", [np.round(X)], {"axis": -1, "select_last_index": 1, "keepdims": 0}),
    "argmin": Case("ArgMin", [np.round(X)], {"axis": 2}),
    "cumsum": Case("CumSum", [X, np.array(2)]),
    "cumsum, exclusive and reverse": Case("CumSum", [X, np.array(2)], {"exclusive": 1, "reverse": 1}),
    "upper triangle": Case("Trilu", [X]),
    "lower triangle": Case("Trilu", [X, np.array(1)], {"upper": 0}),
    "one hot": Case("OneHot", [PLACES, np.array(4), np.array([0.5, 2], np.float32)], {"axis": 0}),
    "reversed": Case("ReverseSequence", [normal(4, 3), ints(4, 1, 2)], {"batch_axis": 1, "time_axis": 0}),
}
QUANTISED = {
    "to numbers": Case("DequantizeLinear", [U8, ONE, np.array(7, np.uint8)]),
    "to numbers along an axis": Case("DequantizeLinear", [U8, normal(6), U8[0]], {"axis": 1}),
    "to levels": Case("QuantizeLinear", [normal(4, 6) * 40, ONE, np.array(128, np.uint8)]),
    "to signed levels": Case(
        "QuantizeLinear", [normal(4, 6) * 40, np.abs(normal(4)), np.zeros(4, np.int8)], {"axis": 0}
    ),
    "matmul": Case("MatMulInteger", [U8, U8.T.copy(), np.array(3, np.uint8)], constants=1),
    "conv": Case("ConvInteger", [U8[None, None], U8[None, None, :2, :3], np.array(9, np.uint8)]),
}
PICTURE = normal(1, 2, 5, 4)
SCALES, SIZES = np.array([1, 1, 2, 1.7], np.float32), ints(1, 2, 8, 3)
RESIZED = {
    **{
        f"{mode}, {where}": Case(
            "Resize", [PICTURE, None, SCALES], {"mode": mode, "coordinate_transformation_mode": where}
        )
        for mode in ("nearest", "linear", "cubic")
        for where in ("half_pixel", "asymmetric", "pytorch_half_pixel")
    },
    **{
        f"nearest, {how}": Case("Resize", [PICTURE, None, None, SIZES], {"nearest_mode": how})
        for how in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
    },
    "align corners": Case(
        "Resize", [PICTURE, None, None, SIZES], {"mode": "linear", "coordinate_transformation_mode": "align_corners"}
    ),
    "linear to sizes": Case("Resize", [PICTURE, None, None, SIZES], {"mode": "linear"}),
    "cubic, inside alone": Case("Resize", [PICTURE, None, SCALES], {"mode": "cubic", "exclude_outside": 1}),
    "beyond the picture": Case(
        "Resize",
        [PICTURE, np.array([0, 0, -0.3, 0.2, 1, 1, 1.2, 0.9], np.float32), None, SIZES],
        {"mode": "linear", "coordinate_transformation_mode": "tf_crop_and_resize", "extrapolation_value": 7.0},
    ),
    "smoothed": Case("Resize", [PICTURE, None, None, ints(1, 2, 3, 2)], {"mode": "linear", "antialias": 1}, opset=18),
    "smoothed, cubic": Case(
        "Resize", [PICTURE, None, None, ints(1, 2, 3, 2)], {"mode": "cubic", "antialias": 1}, opset=18
    ),
    "opset 10": Case("Resize", [PICTURE, SCALES], {"mode": "linear"}, opset=10),
    "nearest, halves as in TensorFlow": Case(
        "Resize",
        [normal(1, 2, 9, 6), np.zeros(0, np.float32), np.array([1, 1, 5 / 9, 2], np.float32)],
        {"coordinate_transformation_mode": "tf_half_pixel_for_nn", "nearest_mode": "floor"},
        opset=11,
    ),
    "20 by float32(0.65) is 13": Case(
        "Resize", [normal(1, 2, 20, 24), None, np.array([1, 1, 13 / 20, 17 / 24], np.float32)], {"mode": "linear"}
    ),
    "upsample": Case("Upsample", [PICTURE, np.array([1, 1, 2, 3], np.float32)], opset=9),
}


@pytest.mark.parametrize("name", REDUCE)
def test_reductions(name, tmp_path):
    case_agrees(REDUCE[name], tmp_path, 4e-6)


@pytest.mark.parametrize("name", PRODUCTS)
def test_products(name, tmp_path):
    case_agrees(PRODUCTS[name], tmp_path, 3e-6)


@pytest.mark.parametrize("name", INDEXING)
def test_indexing(name, tmp_path):
    case_agrees(INDEXING[name], tmp_path)


@pytest.mark.parametrize("name", QUANTISED)
def test_quantisation(name, tmp_path):
    case_agrees(QUANTISED[name], tmp_path)


@pytest.mark.parametrize("name", RESIZED)
def test_resizing(name, tmp_path):
    case_agrees(RESIZED[name], tmp_path, 5e-6)


def test_what_indices_become(tmp_path):
    assert op_names(case_agrees(INDEXING["gather one"], tmp_path)) == ["slice", "reshape"]
    assert op_names(case_agrees(INDEXING["gather evenly"], tmp_path)) == ["slice"]
    assert op_names(case_agrees(INDEXING["gather"], tmp_path)) == ["gather"]


def test_a_constant_on_the_right_is_a_weight(tmp_path):
    assert op_names(case_agrees(PRODUCTS["weight"], tmp_path)) == ["linear"]
    assert op_names(case_agrees(PRODUCTS["gemm"], tmp_path)) == ["linear"]
    assert op_names(case_agrees(PRODUCTS["two"], tmp_path)) == ["matmul"]
