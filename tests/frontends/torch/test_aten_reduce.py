"""Reductions as PyTorch has them."""

import pytest
import torch

from alula.core.errors import UnsupportedOperator
from alula.frontends.torch import from_torch
from tests.frontends.torch.importing import Function, agree, all_agree, image, op_names

SHAPE = (4, 3, 5)

FORMS = {
    "sum": lambda x: x.sum((1, 2)),
    "sum keepdim": lambda x: x.sum(-1, keepdim=True),
    "sum all": lambda x: x.sum(),
    "sum of ints": lambda x: (x * 4).to(torch.int32).sum(1),
    "sum to double": lambda x: x.sum(1, dtype=torch.float64),
    "sum of booleans": lambda x: x.to(torch.bool).sum(1),
    "mean": lambda x: x.mean(1),
    "mean keepdim": lambda x: x.mean((-2, -1), keepdim=True),
    "mean all": lambda x: x.mean(),
    "amax": lambda x: x.amax((1, -1)),
    "amin": lambda x: x.amin(2, keepdim=True),
    "max": lambda x: x.max(),
    "min": lambda x: x.min(),
    "max dim": lambda x: x.max(1)[0],
    "max dim keepdim": lambda x: x.max(-1, keepdim=True).values,
    "min dim": lambda x: x.min(2).values,
    "var": lambda x: x.var((2, 3)),
    "var biased": lambda x: x.var(1, unbiased=False, keepdim=True),
    "var correction": lambda x: torch.var(x, 1, correction=2),
    "std": lambda x: x.std(1, unbiased=False),
    "std correction": lambda x: torch.std(x, (1, 2), correction=0),
    "norm": lambda x: torch.nn.functional.normalize(x, dim=1),
    "norm over all": lambda x: x.norm(),
    "over the batch": lambda x: x.sum(0),
}


def test_forms() -> None:
    all_agree(FORMS, *SHAPE)


def test_largest_is_one_node() -> None:
    assert op_names(agree(lambda x: x.max(1)[0], *SHAPE)) == ["reduce_max"]


def test_where_the_largest_is_is_refused() -> None:
    with pytest.raises(UnsupportedOperator, match=r"element 1 of aten\.max\.dim \(once, at \S+\.py:\d+\)"):
        from_torch(Function(lambda x: x.max(1)[1]), (image(1, 4),))


def test_variance_of_one_element_is_refused() -> None:
    with pytest.raises(UnsupportedOperator, match=r"of 1 elements with correction 1"):
        from_torch(Function(lambda x: x.var(1)), (image(1, 1),))
