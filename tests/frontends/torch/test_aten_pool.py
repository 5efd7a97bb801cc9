"""Pooling as PyTorch has it."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from alula.core.errors import UnsupportedOperator
from alula.frontends.torch import from_torch
from tests.frontends.torch.importing import Function, agree, all_agree, image, op_names

SHAPE = (4, 9, 7)

FORMS = {
    "max": nn.MaxPool2d(2),
    "max with all": nn.MaxPool2d((3, 2), stride=(2, 3), padding=1),
    "max ceil": nn.MaxPool2d(2, ceil_mode=True),
    "max ceil padded": nn.MaxPool2d(3, 2, 1, ceil_mode=True),
    "max with indices": lambda x: torch.ops.aten.max_pool2d_with_indices(x, [3, 3], [2, 2], [1, 1])[0],
    "avg": nn.AvgPool2d(2),
    "avg with all": nn.AvgPool2d((3, 2), stride=(2, 1), padding=1),
    "avg ceil": nn.AvgPool2d(2, 2, ceil_mode=True),
    "avg ceil padded": nn.AvgPool2d(3, 2, 1, ceil_mode=True),
    "avg without padding": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "avg ceil without padding": nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
    "adaptive avg to one": nn.AdaptiveAvgPool2d(1),
    "adaptive avg, equal cells": nn.AdaptiveAvgPool2d((3, 7)),
    "adaptive avg, unequal cells": nn.AdaptiveAvgPool2d((4, 5)),
    "adaptive avg, one axis kept": nn.AdaptiveAvgPool2d((None, 2)),
    "aten _adaptive_avg_pool2d": lambda x: torch.ops.aten._adaptive_avg_pool2d(x, [3, 1]),
    "adaptive max to one": nn.AdaptiveMaxPool2d(1),
    "adaptive max, equal cells": nn.AdaptiveMaxPool2d((3, 1)),
    "adaptive max, unequal cells": nn.AdaptiveMaxPool2d((2, 3)),
}


def test_forms() -> None:
    all_agree(FORMS, *SHAPE)


def test_global_pooling_is_a_reduction_and_equal_cells_a_pool() -> None:
    assert op_names(agree(nn.AdaptiveAvgPool2d(1), *SHAPE)) == ["reduce_mean"]
    assert op_names(agree(nn.AdaptiveAvgPool2d((3, 7)), *SHAPE)) == ["transpose", "avg_pool2d", "transpose"]
    assert op_names(agree(nn.AdaptiveAvgPool2d((9, 7)), *SHAPE)) == []


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: F.max_pool2d(x, 2, dilation=2), "aten.max_pool2d.default with dilation (2, 2)"),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=3), "aten.avg_pool2d.default with divisor_override"),
        (lambda x: F.max_pool2d(x, 2, return_indices=True)[1], "element 1 of aten.max_pool2d_with_indices.default"),
    ],
)
def test_refused(function, text: str) -> None:
    with pytest.raises(UnsupportedOperator) as error:
        from_torch(Function(function), (image(1, 3, 8, 8),))
    assert text in str(error.value)
