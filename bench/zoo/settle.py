"""Random weights that behave like trained ones: nothing is the identity, nothing vanishes or explodes."""

from __future__ import annotations

import numpy as np
import torch

from bench.zoo.pictures import pictures

SPREAD = 0.1
PASSES, IMAGES, SEED = 3, 4, 2
PRODUCTS = (torch.nn.Linear, torch.nn.Conv2d, torch.nn.ConvTranspose2d)
NORMS = (torch.nn.BatchNorm2d, torch.nn.LayerNorm)


def settle(module: torch.nn.Module, size: int) -> None:
    """Change a new module that takes f32[b,3,size,size]; it is in evaluation mode afterwards.

    Weights of products get the size that keeps that of values, normalisations start as they do in PyTorch.  Parameters
    that are the same everywhere (zeros, ones, the 1e-6 of a layer scale) get noise, for a program that lost them would
    go unnoticed.  Batch normalisations get the statistics of a few batches of `pictures`.
    """
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, PRODUCTS):
                torch.nn.init.kaiming_normal_(part.weight)
            if isinstance(part, NORMS):
                part.reset_parameters()
        for parameter in module.parameters():
            if parameter.numel() > 1 and parameter.min() == parameter.max():
                parameter.add_(torch.randn_like(parameter), alpha=SPREAD)
        _calibrate(module.eval(), size)
    module.eval()


def _calibrate(module: torch.nn.Module, size: int) -> None:
    """Means and variances of all batches, in the normalisations alone: dropout stays off."""
    generator = np.random.default_rng(SEED)
    norms = [part for part in module.modules() if isinstance(part, torch.nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches counts
        norm.train()
    for _ in range(PASSES if norms else 0):
        module(torch.from_numpy(pictures(IMAGES, size, generator)))
