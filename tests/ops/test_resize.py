"""Tables of resizing against PyTorch, and their types."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from alula.core.dtype import DType
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.gather import Gather, Interpolate
from alula.ops.reference import run_reference
from alula.ops.resize import ResizePlaces, ResizeShares
from tests.ops.cases import N, infer, refusal

SIZES = [(5, 9), (9, 5), (4, 8), (7, 7), (1, 3), (6, 1)]


def along(plan: ResizePlaces, x: np.ndarray) -> np.ndarray:
    if plan.method == "nearest":
        return Gather(axis=1).reference(x, plan.reference())
    return Interpolate(axis=1).reference(x, plan.reference(), plan.shares().reference())


@pytest.mark.parametrize(("size", "wanted"), SIZES)
@pytest.mark.parametrize(
    ("plan", "mode", "how"),
    [
        (("asymmetric", "nearest"), "nearest", {}),
        (("half_pixel", "linear"), "linear", {}),
        (("align_corners", "linear"), "linear", {"align_corners": True}),
    ],
)
def test_against_pytorch(plan: tuple[str, str], mode: str, how: dict[str, bool], size: int, wanted: int) -> None:
    x = np.random.default_rng(size).standard_normal((2, size)).astype(np.float32)
    theirs = functional.interpolate(torch.from_numpy(x)[None], wanted, mode=mode, **how)[0].numpy()
    np.testing.assert_allclose(along(ResizePlaces(size, wanted, *plan), x), theirs, atol=1e-6)


@pytest.mark.parametrize(("size", "wanted"), SIZES)
@pytest.mark.parametrize("smooth", [False, True])
def test_cubic_against_pytorch(smooth: bool, size: int, wanted: int) -> None:
    x = np.random.default_rng(size).standard_normal((2, size)).astype(np.float32)
    square = torch.from_numpy(x).reshape(1, 2, size, 1).repeat(1, 1, 1, size)
    theirs = functional.interpolate(square, (wanted, wanted), mode="bicubic", antialias=smooth)[0, :, :, 0].numpy()
    slope = -0.5 if smooth else -0.75
    plan = ResizePlaces(size, wanted, "half_pixel", "cubic", slope=slope, smooth=smooth, exclude=smooth)
    np.testing.assert_allclose(along(plan, x), theirs, atol=2e-6)


def test_a_scale_that_is_not_the_ratio() -> None:
    x = np.arange(5, dtype=np.float32)[None]
    theirs = functional.interpolate(torch.from_numpy(x)[None], scale_factor=1.5, mode="linear")[0].numpy()
    np.testing.assert_allclose(along(ResizePlaces(5, 7, "half_pixel", "linear", 1.5), x), theirs, atol=1e-6)


def test_types_and_refusals() -> None:
    assert infer(ResizePlaces(N, N * 2, "asymmetric", "nearest")) == "i64[N*2]"
    assert infer(ResizePlaces(N, 8, "half_pixel", "linear")) == "i64[8,2]"
    assert infer(ResizeShares(N, N * 2, "half_pixel", "cubic")) == "f32[N*2,4]"
    assert infer(ResizeShares(8, 4, "half_pixel", "linear", smooth=True)) == "f32[4,4]"
    assert refusal(ResizeShares(N, 4, "half_pixel", "linear", smooth=True)).startswith("expected fixed sizes")
    assert refusal(ResizeShares(4, 8, "half_pixel", "nearest")) == "expected one of linear, cubic, got 'nearest'"
    assert refusal(ResizePlaces(0, 8, "half_pixel", "linear")) == "expected sizes of 1..16384, got 0"
    assert refusal(ResizePlaces(4, 8, "somewhere", "linear")).endswith("got 'somewhere'")


def test_a_graph_holds_them_until_its_sizes_are_known() -> None:
    graph = Graph("resized", {"N": (1, 9)})
    x = graph.input("x", TensorType(DType.F32, (2, N)))
    plan = ResizePlaces(N, N * 2, "half_pixel", "linear")
    tables = graph.add(plan), graph.add(plan.shares())
    graph.output("y", graph.add(Interpolate(axis=1), x, *tables))
    known, _ = graph.copied({"N": 5})
    assert [node.op.name for node in known.nodes] == ["interpolate"]
    values = np.random.default_rng(0).standard_normal((2, 5)).astype(np.float32)
    theirs = functional.interpolate(torch.from_numpy(values)[None], 10, mode="linear")[0].numpy()
    np.testing.assert_allclose(run_reference(known, [values])[0], theirs, atol=1e-6)
    np.testing.assert_allclose(run_reference(graph, [values])[0], theirs, atol=1e-6)
