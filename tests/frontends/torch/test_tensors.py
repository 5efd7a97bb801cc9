"""Sizes, dtypes and elements of PyTorch as ours."""

import numpy as np
import pytest
import sympy
import torch
from torch.utils._sympy.functions import FloorDiv, Max, Mod

from alula.core.dims import dim_at, symbol
from alula.core.dtype import DType, from_bfloat16
from alula.core.errors import ImportFailed
from alula.frontends.torch.tensors import DTYPES, Sizes, array_of, dtype_of

S = sympy.Symbol("s0", integer=True, positive=True)


@pytest.mark.parametrize(
    "expression",
    [S, S + 3, 4 * S, S * S, S**3 - S, FloorDiv(S, 2), FloorDiv(S + 5, 3) * 2, Mod(S, 4), 7 - S, sympy.Integer(5)],
)
def test_size_has_the_value_of_the_expression(expression: sympy.Expr) -> None:
    dim = Sizes({"s0": "N"})._dim(expression, expression)
    for value in (1, 2, 7, 12):
        assert dim_at(dim, {"N": value}) == int(expression.subs(S, value))


def test_plain_sizes() -> None:
    assert Sizes({}).dim(5) == 5
    assert Sizes({"s0": "N"})._dim(S, S) == symbol("N")


@pytest.mark.parametrize("expression", [Max(S, 2), sympy.Symbol("u0", integer=True), S / 2, 2**S, FloorDiv(7, S)])
def test_other_expressions_are_refused(expression: sympy.Expr) -> None:
    with pytest.raises(ImportFailed, match="torch size: expected sums, products and floor divisions of the batch, got"):
        Sizes({"s0": "N"})._dim(expression, expression)


def test_every_dtype_of_ours_has_one_of_pytorch() -> None:
    assert set(DTYPES.values()) == set(DType)
    with pytest.raises(ImportFailed, match=r"torch dtype: expected .*, got torch\.complex64"):
        dtype_of(torch.complex64)


@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype is not torch.bfloat16])
def test_arrays_share_memory_and_are_read_only(dtype: torch.dtype) -> None:
    tensor = torch.arange(6).to(dtype).reshape(2, 3).t()
    array = array_of(tensor)
    assert DType.of(array) is DTYPES[dtype]
    assert (array.tolist(), array.flags.writeable) == (tensor.tolist(), False)
    assert np.shares_memory(array, tensor.numpy())


def test_bfloat16() -> None:
    tensor = torch.tensor([[1.5, -3.0], [0.1, 2.0]], dtype=torch.bfloat16).t()
    array = array_of(tensor)
    assert DType.of(array) is DType.BF16
    assert from_bfloat16(array).tolist() == tensor.tolist()


def test_parameters_and_views() -> None:
    parameter = torch.nn.Parameter(torch.ones(3))
    assert array_of(parameter).tolist() == [1, 1, 1]
    assert array_of(torch.ones(1, dtype=torch.complex64).conj().imag).tolist() == [0]
