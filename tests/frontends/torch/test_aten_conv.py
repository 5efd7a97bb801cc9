"""Convolutions, unfolding and folding as PyTorch has them."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from alula.core.errors import UnsupportedOperator
from alula.frontends.torch import from_torch
from alula.passes.pipeline import optimise
from tests.frontends.torch.importing import Function, agree, all_agree, image, op_names

SHAPE = (4, 9, 7)

WEIGHT = image(6, 4, 3, 3)

FORMS = {
    "plain": nn.Conv2d(4, 6, 3),
    "no bias": nn.Conv2d(4, 6, 3, bias=False),
    "stride and padding": nn.Conv2d(4, 6, (3, 5), stride=(2, 3), padding=(1, 2)),
    "dilation": nn.Conv2d(4, 6, 3, dilation=(2, 1)),
    "groups": nn.Conv2d(4, 6, 3, groups=2),
    "depthwise": nn.Conv2d(4, 4, 3, padding=1, groups=4),
    "pointwise": nn.Conv2d(4, 6, 1),
    "valid": nn.Conv2d(4, 6, 3, padding="valid"),
    "same": nn.Conv2d(4, 6, 3, padding="same"),
    "same, even kernel and dilation": nn.Conv2d(4, 6, (2, 4), padding="same", dilation=(3, 1)),
    "padding wider than the window": nn.Conv2d(4, 6, 1, padding=(2, 0)),
    "convolution": lambda x: torch.ops.aten.convolution(x, WEIGHT, None, [2, 1], [1, 0], [1, 1], False, [0, 0], 1),
    "weight that is computed": lambda x: F.conv2d(x, x[:1, :, :3, :3] * 2),
    "unfold": nn.Unfold(3),
    "unfold with all": nn.Unfold((3, 2), dilation=(2, 1), padding=(1, 2), stride=(2, 3)),
    "fold": lambda x: F.fold(F.unfold(x, 3, padding=1, stride=2), (9, 7), 3, padding=1, stride=2),
    "fold with all": lambda x: F.fold(
        F.unfold(x, (3, 2), (2, 1), (3, 1), (2, 3)), (9, 7), (3, 2), (2, 1), (3, 1), (2, 3)
    ),
}


TRANSPOSED = {
    "plain": nn.ConvTranspose2d(4, 6, 3),
    "side by side": nn.ConvTranspose2d(4, 6, 2, stride=2),
    "side by side, no bias": nn.ConvTranspose2d(4, 6, (2, 3), stride=(2, 3), bias=False),
    "side by side, groups": nn.ConvTranspose2d(4, 6, 2, stride=2, groups=2),
    "padding": nn.ConvTranspose2d(4, 6, 4, stride=2, padding=1),
    "output padding": nn.ConvTranspose2d(4, 6, 3, stride=(3, 2), padding=1, output_padding=(2, 1)),
    "side by side, output padding": nn.ConvTranspose2d(4, 6, 2, stride=2, output_padding=1),
    "side by side, padding": nn.ConvTranspose2d(4, 6, 2, stride=2, padding=1),
    "dilation": nn.ConvTranspose2d(4, 6, 2, stride=2, dilation=(1, 2)),
    "groups": nn.ConvTranspose2d(4, 6, 3, groups=2, bias=False),
    "weight that is computed": lambda x: F.conv_transpose2d(x, x[:1].transpose(0, 1)[:, :, :3, :3] * 2),
}


def test_forms() -> None:
    all_agree(FORMS, *SHAPE)


def test_transposed_forms() -> None:
    all_agree(TRANSPOSED, *SHAPE)


def test_windows_side_by_side_are_moved_once() -> None:
    graph = optimise(agree(nn.ConvTranspose2d(4, 6, 2, stride=2), *SHAPE))
    assert op_names(graph) == ["transpose", "linear", "reshape", "transpose", "reshape"]


def test_a_convolution_is_channels_last_between_two_transposes() -> None:
    graph = agree(nn.Conv2d(4, 6, 3), *SHAPE)
    assert op_names(graph) == ["transpose", "conv2d", "transpose"]
    assert [str(value.type) for value in graph.constants()] == ["f32[6,3,3,4]", "f32[6]"]


@pytest.mark.parametrize(
    ("module", "text"),
    [
        (
            Function(lambda x: F.conv1d(x[:, 0], torch.ones(3, 8, 1))),
            "with a weight f32[3,8,1]",
        ),
        (Function(lambda x: F.conv3d(x[:, None], torch.ones(1, 1, 1, 1, 1))), "with a weight f32[1,1,1,1,1]"),
        (Function(lambda x: F.conv_transpose1d(x[:, 0], torch.ones(8, 2, 3))), "with a weight f32[8,2,3]"),
    ],
)
def test_refused(module: nn.Module, text: str) -> None:
    with pytest.raises(UnsupportedOperator) as error:
        from_torch(module, (image(1, 3, 8, 8),))
    assert text in str(error.value)


@pytest.mark.parametrize(
    "function", [lambda x: F.conv2d(x[0], torch.ones(2, 3, 1, 1)), lambda x: F.max_pool2d(x[0], 2)]
)
def test_without_a_batch_is_refused(function) -> None:
    with pytest.raises(UnsupportedOperator, match=r"of an input f32\[3,8,8\] without a batch"):
        from_torch(Function(function), (image(1, 3, 8, 8),))
