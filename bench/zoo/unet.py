"""U-Net (Ronneberger et al. 2015, arXiv 1505.04597), padded and with batch normalisation, as it is used today."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from bench.zoo.layers import convolution


def twice(inputs: int, outputs: int) -> nn.Sequential:
    """Two convolutions."""
    return nn.Sequential(convolution(inputs, outputs, 3), convolution(outputs, outputs, 3))


class UNet(nn.Module):
    """A class for each pixel.  images f32[b,3,h,w] -> f32[b,classes,h,w], h and w multiples of 2**(levels - 1)."""

    def __init__(self, channels: Sequence[int] = (32, 64, 128, 256, 512), classes: int = 21) -> None:
        super().__init__()
        self.down = nn.ModuleList(twice(a, b) for a, b in zip((3, *channels), channels, strict=False))
        self.pool = nn.MaxPool2d(2)
        pairs = list(pairwise(channels))[::-1]
        self.grow = nn.ModuleList(nn.ConvTranspose2d(b, a, 2, 2) for a, b in pairs)
        self.up = nn.ModuleList(twice(2 * a, a) for a, _ in pairs)
        self.head = nn.Conv2d(channels[0], classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.down[0](x)
        passed = []
        for down in self.down[1:]:
            passed.append(x)
            x = down(self.pool(x))
        for grow, up in zip(self.grow, self.up, strict=True):
            x = up(torch.cat([passed.pop(), grow(x)], 1))
        logits: torch.Tensor = self.head(x)
        return logits
