"""Sampling between pixels, regions and deformed windows as ONNX Runtime has them."""

import numpy as np
import pytest

from tests.frontends.onnx.models import Case, case_agrees, normal, op_names

X = normal(2, 4, 6, 5)
GRID = (np.tanh(normal(2, 3, 7, 2)) * 1.4).astype(np.float32)
VOLUME, PATHS = normal(1, 2, 3, 4, 5), (np.tanh(normal(1, 2, 3, 4, 3)) * 1.3).astype(np.float32)
ROIS = np.array([[0.3, 0.5, 4.2, 3.1], [-1, -2, 9, 9], [2, 2, 2.5, 2.5]], np.float32)
WHICH = np.array([1, 0, 1])
CELLS = {"output_height": 2, "output_width": 3, "sampling_ratio": 2, "spatial_scale": 0.8}
WEIGHT, OFFSETS = normal(6, 2, 3, 2), normal(2, 2 * 2 * 6, 6, 5)
DEFORMED = {"group": 2, "offset_group": 2, "pads": [1, 0, 1, 1], "kernel_shape": [3, 2]}

CASES = {
    **{
        f"{mode}, {padding}, {align}": Case(
            "GridSample",
            [X, GRID],
            {"mode": mode, "padding_mode": padding, "align_corners": align},
            opset=20,
            constants=2,
        )
        for mode in ("linear", "nearest", "cubic")
        for padding in ("zeros", "border", "reflection")
        for align in (0, 1)
    },
    "grid, opset 16": Case("GridSample", [X, GRID], {"mode": "bicubic"}, opset=16, constants=2),
    "volume": Case("GridSample", [VOLUME, PATHS], {"mode": "linear"}, opset=20, constants=2),
    "regions": Case("RoiAlign", [X, ROIS, WHICH], CELLS, constants=3),
    "regions, opset 10": Case("RoiAlign", [X, ROIS, WHICH], CELLS, opset=10, constants=3),
    "deformed": Case("DeformConv", [X, WEIGHT, OFFSETS, normal(6)], DEFORMED, opset=19, constants=3),
    "deformed and masked": Case(
        "DeformConv", [X, WEIGHT, OFFSETS, None, normal(2, 2 * 6, 6, 5)], DEFORMED, opset=19, constants=5
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_forms(name, tmp_path):
    case_agrees(CASES[name], tmp_path, 1e-5)


def test_a_grid_is_one_interpolation(tmp_path):
    assert op_names(case_agrees(CASES["cubic, zeros, 0"], tmp_path, 1e-5)).count("interpolate") == 1
