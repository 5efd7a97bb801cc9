"""SqueezeNet (Iandola et al. 2016, arXiv 1602.07360), version 1.1."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from bench.zoo.layers import GlobalMean

POOL = 0  # in a list of fire modules


class Fire(nn.Module):
    """Few channels, then many: half of them look at their neighbours."""

    def __init__(self, inputs: int, inside: int, outputs: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, inside, 1)
        self.points = nn.Conv2d(inside, outputs // 2, 1)
        self.neighbours = nn.Conv2d(inside, outputs // 2, 3, padding=1)
        self.relu = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        few = self.relu(self.squeeze(x))
        return torch.cat([self.relu(self.points(few)), self.relu(self.neighbours(few))], 1)


def squeezenet(
    fires: Sequence[int] = (128, 128, POOL, 256, 256, POOL, 384, 384, 512, 512), classes: int = 1000
) -> nn.Module:
    """SqueezeNet 1.1, `fires` being the channels after each module.  images f32[b,3,h,w] -> f32[b,classes]."""
    channels = 64
    parts: list[nn.Module] = [nn.Conv2d(3, channels, 3, 2), nn.ReLU(), nn.MaxPool2d(3, 2, ceil_mode=True)]
    for outputs in fires:
        if outputs == POOL:
            parts.append(nn.MaxPool2d(3, 2, ceil_mode=True))
        else:
            parts.append(Fire(channels, outputs // 8, outputs))
            channels = outputs
    return nn.Sequential(*parts, nn.Conv2d(channels, classes, 1), nn.ReLU(), GlobalMean())
