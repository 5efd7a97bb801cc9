"""Comparisons, logic and choices as PyTorch has them."""

import pytest
import torch

from alula.core.errors import UnsupportedOperator
from alula.frontends.torch import from_torch
from tests.frontends.torch.importing import Function, agree, all_agree, image, op_names

SHAPE = (4, 3)


def chosen(condition: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    return torch.where(condition, x, x * 2)


FORMS = {
    "eq": lambda x: chosen(x == x.abs(), x),
    "ne scalar": lambda x: chosen(x * 0 != 0.0, x),
    "lt": lambda x: chosen(x < x[:, :1], x),
    "le": lambda x: chosen(x <= x[:, :1], x),
    "gt scalar": lambda x: chosen(x > 0, x),
    "ge scalar": lambda x: chosen(x >= 0.25, x),
    "and": lambda x: chosen((x > 0) & (x < 1), x),
    "logical or": lambda x: chosen(torch.logical_or(x > 1, x < -1), x),
    "xor": lambda x: chosen((x > 0) ^ (x > 1), x),
    "not": lambda x: chosen(~(x > 0), x),
    "logical not": lambda x: chosen(torch.logical_not(x > 0), x),
    "isnan": lambda x: chosen(torch.isnan(torch.log(x)), x),
    "where scalars": lambda x: torch.where(x > 0, 1.0, -2.0) * x,
    "where scalar first": lambda x: torch.where(x > 0, 0.5, x),
    "where scalar last": lambda x: torch.where(x > 0, x, 0.5),
    "masked fill": lambda x: x.masked_fill(x > 0, -3.0),
    "masked fill by a tensor": lambda x: x.masked_fill(x[:, :1] > 0, torch.tensor(2.0)),
}


def test_forms() -> None:
    all_agree(FORMS, *SHAPE)


def test_a_choice_is_one_node() -> None:
    assert op_names(agree(Function(lambda x: torch.where(x > 0, x, 0.5)), *SHAPE)) == ["less", "where"]


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: torch.bitwise_and(x.int(), x.int()).float(), "aten.bitwise_and.Tensor of i32[N,4,3] and i32[N,4,3]"),
        (lambda x: torch.where(x.int() > 0.5, x, 0.0), "aten.gt.Scalar of i32[N,4,3] with 0.5"),
    ],
)
def test_refused(function, text: str) -> None:
    with pytest.raises(UnsupportedOperator) as error:
        from_torch(Function(function), (image(1, *SHAPE),))
    assert text in str(error.value)
