"""Random weights that behave like trained ones: nothing is the identity, nothing vanishes or explodes."""

from __future__ import annotations

import torch

SPREAD = 0.1
PASSES, IMAGES = 3, 4


def settle(module: torch.nn.Module, size: int) -> None:
    """Change a new module that takes f32[b,3,size,size], in evaluation mode afterwards.

    Parameters that are the same everywhere (zeros, ones, the 1e-6 of a layer scale) get noise, for a program that lost
    them would go unnoticed; batch normalisations get the statistics of a few batches of standard normal images.
    """
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.numel() > 1 and parameter.min() == parameter.max():
                parameter.add_(torch.randn_like(parameter), alpha=SPREAD)
        norms = [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
        if norms:
            momentums = [norm.momentum for norm in norms]
            for norm in norms:
                norm.reset_running_stats()
                norm.momentum = None  # the mean of all batches
            module.eval()
            for norm in norms:
                norm.train()  # these alone: dropout stays off
            for _ in range(PASSES):
                module(torch.randn(IMAGES, 3, size, size))
            for norm, momentum in zip(norms, momentums, strict=True):
                norm.momentum = momentum
    module.eval()
