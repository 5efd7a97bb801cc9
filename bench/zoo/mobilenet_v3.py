"""MobileNetV3 (Howard et al. 2019, arXiv 1905.02244)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from bench.zoo.layers import GlobalMean, convolution


@dataclass(frozen=True, slots=True)
class Block:
    """A row of the paper's table: kernel, channels inside and after, squeeze and excitation, hard-swish, stride."""

    kernel: int
    inside: int
    outputs: int
    squeezes: bool
    swish: bool
    stride: int


LARGE = (
    Block(3, 16, 16, False, False, 1),
    Block(3, 64, 24, False, False, 2),
    Block(3, 72, 24, False, False, 1),
    Block(5, 72, 40, True, False, 2),
    Block(5, 120, 40, True, False, 1),
    Block(5, 120, 40, True, False, 1),
    Block(3, 240, 80, False, True, 2),
    Block(3, 200, 80, False, True, 1),
    Block(3, 184, 80, False, True, 1),
    Block(3, 184, 80, False, True, 1),
    Block(3, 480, 112, True, True, 1),
    Block(3, 672, 112, True, True, 1),
    Block(5, 672, 160, True, True, 2),
    Block(5, 960, 160, True, True, 1),
    Block(5, 960, 160, True, True, 1),
)


class SqueezeExcite(nn.Module):
    """Channels weighted by what they hold on the whole."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inside = eighths(channels / 4)
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, inside, 1),
            nn.ReLU(),
            nn.Conv2d(inside, channels, 1),
            nn.Hardsigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weigh(x)


def eighths(channels: float) -> int:
    """The nearest multiple of 8, at least 8."""
    return max(8, int(channels + 4) // 8 * 8)


class InvertedResidual(nn.Module):
    """Wider, filtered channel by channel, narrower."""

    def __init__(self, inputs: int, block: Block) -> None:
        super().__init__()
        act = nn.Hardswish if block.swish else nn.ReLU
        self.residual = block.stride == 1 and inputs == block.outputs
        self.layers = nn.Sequential(
            *([convolution(inputs, block.inside, 1, activation=act)] if inputs != block.inside else []),
            convolution(block.inside, block.inside, block.kernel, block.stride, block.inside, act),
            *([SqueezeExcite(block.inside)] if block.squeezes else []),
            convolution(block.inside, block.outputs, 1, activation=None),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.layers(x)
        return x + y if self.residual else y


def mobilenet_v3(blocks: Sequence[Block] = LARGE, classes: int = 1000) -> nn.Module:
    """MobileNetV3-Large.  images f32[b,3,h,w] -> f32[b,classes]."""
    stem, last, head = 16, blocks[-1].outputs * 6, 1280
    inputs = [stem, *(block.outputs for block in blocks)]
    return nn.Sequential(
        convolution(3, stem, 3, 2, activation=nn.Hardswish),
        *(InvertedResidual(size, block) for size, block in zip(inputs, blocks, strict=False)),
        convolution(inputs[-1], last, 1, activation=nn.Hardswish),
        GlobalMean(),
        nn.Linear(last, head),
        nn.Hardswish(),
        nn.Linear(head, classes),
    )
