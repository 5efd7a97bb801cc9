"""TopK against PyTorch, and the order of equal elements, which ONNX fixes and PyTorch does not."""

import numpy as np
import pytest
import torch

from alula.ops.sort import TopK
from tests.ops.cases import infer, refusal


@pytest.mark.parametrize("largest", [True, False])
@pytest.mark.parametrize("k", [0, 1, 4, 9])
def test_against_pytorch(k: int, largest: bool) -> None:
    x = np.random.default_rng(k).standard_normal((2, 3, 9)).astype(np.float32)
    x[0, 1, 4], x[1, 2, 0] = np.nan, -np.inf
    values, places = TopK(k, largest).reference(x)
    wanted = torch.topk(torch.from_numpy(x), k, largest=largest)
    assert np.array_equal(values, wanted.values.numpy(), equal_nan=True)
    assert np.array_equal(places, wanted.indices.numpy())


def test_equal_elements_stay_in_order() -> None:
    x = np.array([3, 7, 3, 7, 7, 1], np.uint8)
    assert [result.tolist() for result in TopK(4).reference(x)] == [[7, 7, 7, 3], [1, 3, 4, 0]]
    assert [result.tolist() for result in TopK(3, False).reference(x)] == [[1, 3, 3], [5, 0, 2]]


def test_types_and_refusals() -> None:
    assert infer(TopK(3), "i8[N,5]") == "i8[N,3], i64[N,3]"
    assert refusal(TopK(6), "f32[5]") == "expected last axis of 6 or more, got 5"
    assert refusal(TopK(-1), "f32[5]") == "expected k >= 0, got -1"
    assert "got bool[5]" in refusal(TopK(1), "bool[5]")
