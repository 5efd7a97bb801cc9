"""ShuffleNetV2 (Ma et al. 2018, arXiv 1807.11164)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bench.zoo.layers import GlobalMean, convolution


def shuffled(x: torch.Tensor) -> torch.Tensor:
    """Channels of the two halves in turns.  x[b,c,h,w] -> [b,c,h,w]."""
    batch, channels, height, width = x.shape
    return x.view(batch, 2, channels // 2, height, width).transpose(1, 2).reshape(batch, channels, height, width)


class Unit(nn.Module):
    """Half the channels pass by; in a unit of stride 2 both halves see all of them."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        half = outputs // 2
        self.splits = stride == 1
        seen = half if self.splits else inputs
        self.left = (
            nn.Identity()
            if self.splits
            else nn.Sequential(convolution(seen, seen, 3, stride, seen, None), convolution(seen, half, 1))
        )
        self.right = nn.Sequential(
            convolution(seen, half, 1), convolution(half, half, 3, stride, half, None), convolution(half, half, 1)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        left, right = x.chunk(2, 1) if self.splits else (x, x)
        return shuffled(torch.cat([self.left(left), self.right(right)], 1))


def shufflenet_v2(
    depths: Sequence[int] = (4, 8, 4),
    channels: Sequence[int] = (116, 232, 464),
    last: int = 1024,
    classes: int = 1000,
) -> nn.Module:
    """ShuffleNetV2 1.0.  images f32[b,3,h,w] -> f32[b,classes]."""
    inputs = 24
    parts: list[nn.Module] = [convolution(3, inputs, 3, 2), nn.MaxPool2d(3, 2, 1)]
    for depth, outputs in zip(depths, channels, strict=True):
        for number in range(depth):
            parts.append(Unit(inputs, outputs, 1 if number else 2))
            inputs = outputs
    return nn.Sequential(*parts, convolution(inputs, last, 1), GlobalMean(), nn.Linear(last, classes))
