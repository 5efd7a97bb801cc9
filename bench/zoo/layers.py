"""What the convolutional networks of this package have in common."""

from __future__ import annotations

import torch
from torch import nn


def convolution(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution, batch normalisation, activation; the image keeps its size but for the stride."""
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class GlobalMean(nn.Module):
    """The mean image point.  x[b,c,h,w] -> [b,c]."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean((2, 3))
