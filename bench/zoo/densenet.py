"""DenseNet (Huang et al. 2017, arXiv 1608.06993)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bench.zoo.layers import GlobalMean

NARROWING = 4  # channels between a layer's two convolutions, over those it adds


def activated(channels: int) -> list[nn.Module]:
    """Batch normalisation and ReLU, which stand before the convolutions here."""
    return [nn.BatchNorm2d(channels), nn.ReLU()]


class DenseLayer(nn.Module):
    """x[b,c,h,w] -> x and `growth` channels more."""

    def __init__(self, channels: int, growth: int) -> None:
        super().__init__()
        inside = NARROWING * growth
        self.layers = nn.Sequential(
            *activated(channels),
            nn.Conv2d(channels, inside, 1, bias=False),
            *activated(inside),
            nn.Conv2d(inside, growth, 3, padding=1, bias=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([x, self.layers(x)], 1)


def densenet(layers: Sequence[int] = (6, 12, 24, 16), growth: int = 32, classes: int = 1000) -> nn.Module:
    """DenseNet-121.  images f32[b,3,h,w] -> f32[b,classes]."""
    channels = 2 * growth
    parts: list[nn.Module] = [
        nn.Conv2d(3, channels, 7, 2, 3, bias=False),
        *activated(channels),
        nn.MaxPool2d(3, 2, 1),
    ]
    for number, count in enumerate(layers):
        if number:
            half = channels // 2
            parts += [*activated(channels), nn.Conv2d(channels, half, 1, bias=False), nn.AvgPool2d(2)]
            channels = half
        for _ in range(count):
            parts.append(DenseLayer(channels, growth))
            channels += growth
    return nn.Sequential(*parts, *activated(channels), GlobalMean(), nn.Linear(channels, classes))
