"""Matrix products as PyTorch has them."""

import pytest
import torch
from torch import nn

from alula.core.errors import UnsupportedOperator
from alula.frontends.torch import from_torch
from tests.frontends.torch.importing import Function, agree, image, op_names

WEIGHT, BIAS = image(5, 7), image(7)

FORMS = {
    "linear": (nn.Linear(5, 7), (4, 5), ["linear"]),
    "linear of rows": (nn.Linear(5, 7, bias=False), (5,), ["linear"]),
    "matmul": (lambda x: x @ x.mT, (2, 4, 5), ["transpose", "matmul"]),
    "matmul broadcast": (lambda x: x @ x[:, :1].mT, (2, 4, 5), ["slice", "transpose", "matmul"]),
    "matmul by a weight": (lambda x: x @ WEIGHT, (2, 4, 5), ["linear"]),
    "mm by a weight": (lambda x: torch.mm(x, WEIGHT), (5,), ["linear"]),
    "mm": (lambda x: torch.mm(x, x.t()), (5,), ["transpose", "matmul"]),
    "bmm": (lambda x: torch.bmm(x, x.transpose(1, 2)), (4, 5), ["transpose", "matmul"]),
    "addmm": (lambda x: torch.addmm(BIAS, x, WEIGHT), (5,), ["linear"]),
    "addmm scaled": (
        lambda x: torch.addmm(BIAS, x, WEIGHT, beta=0.5, alpha=2),
        (5,),
        ["linear", "mul", "mul", "add"],
    ),
    "baddbmm": (lambda x: torch.baddbmm(x, x, x), (4, 4), ["matmul", "add"]),
    "einsum": (lambda x: torch.einsum("bhd,bwd->bhw", x, x), (4, 5), None),
}


@pytest.mark.parametrize("name", FORMS)
def test_form(name: str) -> None:
    source, shape, names = FORMS[name]
    graph = agree(source, *shape)
    assert names is None or op_names(graph) == names


def test_vectors_are_refused() -> None:
    with pytest.raises(UnsupportedOperator, match=r"aten\.matmul\.default of f32\[N,5\] and f32\[5\]"):
        from_torch(Function(lambda x: x @ torch.ones(5)), (image(1, 5),))
