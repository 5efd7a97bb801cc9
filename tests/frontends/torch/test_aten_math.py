"""Arithmetic element by element, scalars and conversions as PyTorch has them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from alula.core.errors import UnsupportedOperator
from alula.frontends.torch import from_torch
from tests.frontends.torch.importing import Function, agree, all_agree, image, op_names

SHAPE = (4, 3)

ANY_SIGN = {
    "abs": torch.abs,
    "erf": torch.erf,
    "exp": torch.exp,
    "neg": torch.neg,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "relu": torch.relu,
    "silu": F.silu,
    "hard_sigmoid": F.hardsigmoid,
    "hard_swish": lambda x: F.hardswish(x * 4),
    "clip": lambda x: F.relu6(x * 8),
    "gelu": F.gelu,
    "leaky_relu": lambda x: F.leaky_relu(x, 0.2),
}
TRIGONOMETRY = {
    name: getattr(torch, name)
    for name in ("sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "asinh", "acosh", "atanh")
}
POSITIVE = {"log": torch.log, "sqrt": torch.sqrt, "rsqrt": torch.rsqrt, "reciprocal": torch.reciprocal}

FORMS = {
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "aten relu6": lambda x: torch.ops.aten.relu6(x * 8),
    "add": lambda x: x + x[:, :1],
    "add scalar": lambda x: x + 2,
    "add alpha": lambda x: torch.add(x, x, alpha=3),
    "add scalar alpha": lambda x: torch.ops.aten.add.Scalar(x, 2, 3),
    "sub": lambda x: x - x[:, :, :1],
    "sub scalar": lambda x: x - 0.1,
    "sub alpha": lambda x: torch.sub(x, x, alpha=0.5),
    "rsub": lambda x: 1 - x,
    "rsub alpha": lambda x: torch.rsub(x, x, alpha=2),
    "aten sub scalar": lambda x: torch.ops.aten.sub.Scalar(x, 2, 3),
    "aten mul scalar": lambda x: torch.ops.aten.mul.Scalar(x, 5),
    "aten div scalar": lambda x: torch.ops.aten.div.Scalar(x, 3),
    "mul": lambda x: x * x[:, 1:2],
    "mul scalar": lambda x: x * 0.125,
    "div scalar": lambda x: x / 3,
    "maximum": lambda x: torch.maximum(x, x[:, :1]),
    "minimum": lambda x: torch.minimum(x, x[:, :, :1]),
    "pow 1": lambda x: x**1,
    "pow 2": lambda x: x**2,
    "pow 3": lambda x: x**3,
    "pow 4": lambda x: x**4,
    "pow -1": lambda x: x**-1,
    "pow scalar base": lambda x: 2**x,
    "square": torch.square,
    "prelu": nn.PReLU(4, 0.3),
    "prelu shared": nn.PReLU(1, 0.3),
    "elu": nn.ELU(),
    "selu": nn.SELU(),
    "glu": nn.GLU(1),
    "softsign": nn.Softsign(),
    "clamp": lambda x: x.clamp(-0.5, 0.25),
    "clamp below": lambda x: x.clamp(min=0.1),
    "clamp above": lambda x: x.clamp(max=0.1),
    "aten clamp_min": lambda x: torch.ops.aten.clamp_min(x, 0.1),
    "aten clamp_max": lambda x: torch.ops.aten.clamp_max(x, 0.1),
    "hardtanh": F.hardtanh,
    "dropout": nn.Dropout(0.5),
    "aten dropout": lambda x: torch.ops.aten.dropout(x, 0.5, False),
    "copies": lambda x: x.contiguous().clone().detach() * 1,
    "identity": nn.Identity(),
    "to double": lambda x: x.double() + 1,
    "to half and back": lambda x: x.half().float(),
    "to int": lambda x: (x * 3).to(torch.int32),
    "int and float": lambda x: (x * 3).to(torch.int64) * 0.5,
    "ints divided": lambda x: (x * 3).to(torch.int64) / 2,
    "type_as": lambda x: x.to(torch.float64).type_as(x),
    "bool times float": lambda x: x.to(torch.bool) * x,
    "constant tensor": lambda x: x * torch.tensor([1.0, 2.0, 3.0]),
    "double constant": lambda x: x + torch.tensor(2.0, dtype=torch.float64),
}
OF_POSITIVE = {
    "div": lambda x: x / (x[:, :1] + 1),
    "pow half": lambda x: x**0.5,
    "pow minus half": lambda x: x**-0.5,
    "pow broken": lambda x: x**1.7,
    "pow tensor": lambda x: x ** x[:, :1],
}


def test_unary() -> None:
    assert set(ANY_SIGN) <= set(op_names(all_agree(ANY_SIGN, *SHAPE)))


def test_unary_of_positive() -> None:
    assert op_names(all_agree(POSITIVE, *SHAPE, positive=True)) == list(POSITIVE)


def test_forms() -> None:
    all_agree(FORMS, *SHAPE)


def test_forms_of_positive() -> None:
    all_agree(OF_POSITIVE, *SHAPE, positive=True)


def test_in_place_is_as_if_it_were_not() -> None:
    assert op_names(agree(lambda x: F.relu(x, inplace=True).add_(1), *SHAPE)) == ["relu", "add"]


def test_small_powers_are_products() -> None:
    assert op_names(agree(lambda x: x**3, *SHAPE)) == ["mul", "mul"]


def test_what_changes_nothing_leaves_no_node() -> None:
    graph = agree(lambda x: F.dropout(x.contiguous().clone().float(), training=False), *SHAPE)
    assert op_names(graph) == []


def test_dropout_in_training_is_refused() -> None:
    module = Function(lambda x: torch.ops.aten.dropout(x, 0.5, True))
    with pytest.raises(UnsupportedOperator, match=r"aten\.native_dropout\.default"):
        from_torch(module, (image(1, 4),))


def test_a_size_is_no_number() -> None:
    with pytest.raises(UnsupportedOperator, match=r"aten\.div\.Tensor with the size N as a number"):
        from_torch(Function(lambda x: x / x.shape[0]), (image(1, 4),))
