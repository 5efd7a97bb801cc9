"""Softmax and attention as PyTorch has them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from alula.core.errors import UnsupportedOperator
from alula.frontends.torch import from_torch
from tests.frontends.torch.importing import Function, agree, all_agree, image, op_names

BIAS = image(4, 4)
MASK = torch.tensor([[True, False, True, True], [True, True, True, False], [False, True, True, True], [True] * 4])

FORMS = {
    "softmax": lambda x: x.softmax(-1),
    "softmax of an inner axis": lambda x: F.softmax(x, 1),
    "softmax in double": lambda x: x.softmax(2, dtype=torch.float64),
    "aten _softmax": lambda x: torch.ops.aten._softmax(x, 1, False),
    "log softmax": lambda x: F.log_softmax(x * 30, -1),
    "aten _log_softmax": lambda x: torch.ops.aten._log_softmax(x, 1, False),
    "attention": lambda x: F.scaled_dot_product_attention(x, x * 2, x + 1),
    "attention with a scale": lambda x: F.scaled_dot_product_attention(x, x, x, scale=0.3),
    "attention with a mask": lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=MASK),
    "attention with a bias": lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=BIAS),
    "attention with a computed bias": lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=x @ x.mT),
    "attention, causal": lambda x: F.scaled_dot_product_attention(x, x, x, is_causal=True),
    "attention, causal over more": lambda x: F.scaled_dot_product_attention(x[..., :3, :], x, x, is_causal=True),
}


def test_forms() -> None:
    all_agree(FORMS, 2, 4, 5)


class SelfAttention(nn.Module):
    def __init__(self, weights: bool) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.weights = weights

    def forward(self, x):
        return self.attention(x, x, x, need_weights=self.weights)


@pytest.mark.parametrize("weights", [False, True])
def test_multihead_attention(weights: bool) -> None:
    agree(SelfAttention(weights), 5, 6)


def test_transformer_layer() -> None:
    agree(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, norm_first=True), 5, 8)


def test_attention_comes_as_its_parts() -> None:
    graph = agree(FORMS["attention with a scale"], 2, 4, 5)
    assert op_names(graph) == ["transpose", "matmul", "mul", "softmax", "matmul"]


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5), "with dropout"),
        (lambda x: F.scaled_dot_product_attention(x, x[:, :1], x[:, :1], enable_gqa=True), "with enable_gqa"),
        (lambda x: F.scaled_dot_product_attention(x, x, x, attn_mask=(x @ x.mT).bool()), "with a mask bool["),
    ],
)
def test_refused(function, text: str) -> None:
    with pytest.raises(UnsupportedOperator) as error:
        from_torch(Function(function), (image(1, 2, 4, 5),))
    assert f"aten.scaled_dot_product_attention.default {text}" in str(error.value)
