"""Normalisation as PyTorch has it, with statistics and weights that are not those of a fresh module."""

import pytest
import torch
from torch import nn

from alula.core.errors import UnsupportedOperator
from alula.frontends.torch import from_torch
from tests.frontends.torch.importing import Function, agree, image, op_names


def trained(module: nn.Module) -> nn.Module:
    """The module with random weights and, where it has them, running statistics."""
    generator = torch.Generator().manual_seed(0)
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.is_floating_point():
            tensor.data = torch.rand(tensor.shape, generator=generator) + 0.5
    return module


FORMS = {
    "batch 2d": (nn.BatchNorm2d(4), (4, 5, 3)),
    "batch 2d without weights": (nn.BatchNorm2d(4, affine=False), (4, 5, 3)),
    "batch 1d": (nn.BatchNorm1d(4, eps=0.1), (4,)),
    "batch 1d of sequences": (nn.BatchNorm1d(4), (4, 6)),
    "layer": (nn.LayerNorm(6), (4, 6)),
    "layer of several axes": (nn.LayerNorm((4, 6), eps=0.1), (2, 4, 6)),
    "layer without weights": (nn.LayerNorm(6, elementwise_affine=False), (4, 6)),
    "layer without bias": (nn.LayerNorm(6, bias=False), (4, 6)),
    "group": (nn.GroupNorm(2, 4), (4, 5, 3)),
    "group without weights": (nn.GroupNorm(4, 4, affine=False), (4, 5)),
    "native layer": (lambda x: torch.ops.aten.native_layer_norm(x, [6], None, None, 1e-5)[0], (4, 6)),
    "native batch": (
        lambda x: torch.ops.aten.native_batch_norm(x, None, None, torch.ones(4), 2 * torch.ones(4), False, 0.1, 1e-5)[
            0
        ],
        (4, 5),
    ),
    "functional batch": (
        lambda x: nn.functional.batch_norm(x, torch.ones(4), 2 * torch.ones(4), eps=1e-3),
        (4, 5),
    ),
    "by hand": (
        lambda x: (x - x.mean(1, keepdim=True)) / (x.var(1, keepdim=True, unbiased=False) + 1e-6).sqrt(),
        (4, 5),
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_form(name: str) -> None:
    source, shape = FORMS[name]
    agree(trained(source) if isinstance(source, nn.Module) else source, *shape)


def test_of_two_axes_there_is_nothing_to_transpose() -> None:
    assert op_names(agree(nn.BatchNorm1d(4), 4)) == ["batch_norm"]
    assert op_names(agree(nn.BatchNorm2d(4), 4, 5, 3)) == ["transpose", "batch_norm", "transpose"]


def test_statistics_of_the_batch_are_refused() -> None:
    with pytest.raises(UnsupportedOperator, match=r"aten\._native_batch_norm_legit\.no_stats \(once"):
        from_torch(Function(lambda x: nn.functional.batch_norm(x, None, None, training=True)), (image(1, 4, 5),))
