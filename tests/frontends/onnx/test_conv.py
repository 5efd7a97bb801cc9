"""Convolutions and folded windows as ONNX Runtime has them."""

import pytest

from tests.frontends.onnx.models import Case, case_agrees, ints, normal, op_names

X, W, B = normal(2, 4, 9, 7), normal(6, 4, 3, 2), normal(6)

CASES = {
    "plain": Case("Conv", [X, W]),
    "bias": Case("Conv", [X, W, B]),
    "opset 7": Case("Conv", [X, W, B], opset=7),
    "strides": Case("Conv", [X, W, B], {"strides": [2, 3]}),
    "uneven pads": Case("Conv", [X, W], {"pads": [1, 0, 2, 1]}),
    "wide pads": Case("Conv", [X, W], {"pads": [4, 3, 3, 2]}),
    "dilations": Case("Conv", [X, W], {"dilations": [2, 3], "pads": [2, 1, 0, 3]}),
    "same upper": Case("Conv", [X, W], {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    "same lower": Case("Conv", [X, W], {"auto_pad": "SAME_LOWER", "strides": [2, 1]}),
    "valid": Case("Conv", [X, W], {"auto_pad": "VALID"}),
    "groups": Case("Conv", [X, normal(6, 2, 3, 3), B], {"group": 2}),
    "depthwise": Case("Conv", [X, normal(4, 1, 3, 3)], {"group": 4, "pads": [1, 1, 1, 1]}),
    "one axis": Case("Conv", [normal(2, 4, 9), normal(6, 4, 3), B], {"strides": [2], "pads": [1, 2]}),
    "one axis, same": Case("Conv", [normal(2, 4, 9), normal(6, 4, 4)], {"auto_pad": "SAME_UPPER", "strides": [2]}),
    "three axes": Case(
        "Conv",
        [normal(2, 4, 6, 5, 7), normal(6, 2, 3, 2, 2), B],
        {"group": 2, "strides": [2, 1, 2], "pads": [1, 0, 1, 2, 1, 0], "dilations": [1, 2, 1]},
    ),
    "weight of a run": Case("Conv", [X, W, B], {"pads": [1, 1, 0, 0], "strides": [2, 1]}, constants=3),
    "groups of a run": Case("Conv", [X, normal(6, 2, 3, 3)], {"group": 2, "dilations": [1, 2]}, constants=2),
    "transposed": Case("ConvTranspose", [X, normal(4, 5, 3, 2)]),
    "transposed, bias": Case("ConvTranspose", [X, normal(4, 5, 3, 2), normal(5)], {"strides": [2, 3]}),
    "transposed, pads": Case("ConvTranspose", [X, normal(4, 5, 3, 3)], {"strides": [2, 2], "pads": [1, 1, 1, 0]}),
    "transposed, output padding": Case(
        "ConvTranspose", [X, normal(4, 5, 3, 3)], {"strides": [3, 2], "pads": [1, 1, 1, 1], "output_padding": [2, 1]}
    ),
    "transposed, groups": Case("ConvTranspose", [X, normal(4, 3, 2, 2)], {"group": 2, "strides": [2, 2]}),
    "transposed, dilations": Case("ConvTranspose", [X, normal(4, 5, 3, 2)], {"dilations": [2, 2], "strides": [1, 2]}),
    "transposed, shape": Case("ConvTranspose", [X, normal(4, 5, 3, 3)], {"output_shape": [18, 14], "strides": [2, 2]}),
    "transposed, one axis": Case("ConvTranspose", [normal(2, 4, 9), normal(4, 5, 3)], {"strides": [2], "pads": [1, 0]}),
    "transposed, of a run": Case("ConvTranspose", [X, normal(4, 5, 3, 2)], {"strides": [2, 1]}, constants=2),
    "col2im": Case("Col2Im", [normal(2, 4 * 6, 30), ints(7, 7), ints(2, 3)], opset=18),
    "col2im, all": Case(
        "Col2Im", [normal(2, 4 * 6, 12), ints(7, 8), ints(2, 3)], {"strides": [2, 3], "pads": [1, 1, 0, 2]}, opset=18
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_forms(name, tmp_path):
    case_agrees(CASES[name], tmp_path, 3e-6)


def test_a_transposed_convolution_is_a_product_and_a_fold(tmp_path):
    graph = case_agrees(CASES["transposed, pads"], tmp_path, 3e-6)
    assert op_names(graph) == ["transpose", "linear", "reshape", "fold", "transpose"]
