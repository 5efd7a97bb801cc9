"""Vision models of the `transformers` package, made from their configurations, with random weights."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch

from alula.core.errors import UsageError

CLASSES = 1000


class Logits(torch.nn.Module):
    """The logits of a classifier that answers with a structure.  images f32[b,3,h,w] -> f32[b,classes]."""

    def __init__(self, classifier: torch.nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.classifier(pixel_values=images).logits
        return logits


def vit(**settings: Any) -> torch.nn.Module:
    """A vision transformer; ViT-B/16 at 224 pixels where the settings do not say otherwise."""
    from transformers import ViTConfig, ViTForImageClassification

    return ViTForImageClassification(ViTConfig(num_labels=CLASSES, **settings))


def resnet(**settings: Any) -> torch.nn.Module:
    """A residual network; ResNet-50 where the settings do not say otherwise."""
    from transformers import ResNetConfig, ResNetForImageClassification

    module = ResNetForImageClassification(ResNetConfig(num_labels=CLASSES, **settings))
    for part in module.modules():
        if isinstance(part, torch.nn.BatchNorm2d):  # a new one is the identity, which says nothing of folding it
            part.running_mean.normal_(0, 0.1)
            part.running_var.uniform_(0.5, 1.5)
    return module


MODELS: dict[str, Callable[..., torch.nn.Module]] = {"vit_b16": vit, "resnet50": resnet}


def random_model(name: str, seed: int, **settings: Any) -> torch.nn.Module:
    """The model in evaluation mode, the same for the same seed.  Raises UsageError without the package."""
    if find_spec("transformers") is None:
        raise UsageError(f"model {name}: expected the package transformers (pip install 'alula[bench]'), got none")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Logits(MODELS[name](**settings)).eval()
