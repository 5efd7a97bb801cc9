"""The models by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch

from alula.core.errors import UsageError
from bench.zoo import hub
from bench.zoo.densenet import densenet
from bench.zoo.mobilenet_v3 import mobilenet_v3
from bench.zoo.settle import settle
from bench.zoo.shufflenet_v2 import shufflenet_v2
from bench.zoo.squeezenet import squeezenet
from bench.zoo.unet import UNet


@dataclass(frozen=True, slots=True)
class Entry:
    """A model: what it is called, how it is made, the pixels of its images' sides."""

    title: str
    make: Callable[..., torch.nn.Module]
    size: int = 224

    @property
    def package(self) -> str | None:
        """What has to be installed for it."""
        return "transformers" if self.make.__module__ == hub.__name__ else None


MODELS = {
    "resnet50": Entry("ResNet-50", hub.resnet),
    "mobilenet_v2": Entry("MobileNetV2", hub.mobilenet_v2),
    "mobilenet_v3": Entry("MobileNetV3-Large", mobilenet_v3),
    "efficientnet_b0": Entry("EfficientNet-B0", hub.efficientnet),
    "regnet_y4": Entry("RegNetY-4GF", hub.regnet),
    "densenet121": Entry("DenseNet-121", densenet),
    "squeezenet": Entry("SqueezeNet 1.1", squeezenet),
    "shufflenet_v2": Entry("ShuffleNetV2 1.0", shufflenet_v2),
    "convnext_t": Entry("ConvNeXt-T", hub.convnext),
    "vit_b16": Entry("ViT-B/16", hub.vit),
    "deit_s16": Entry("DeiT-S/16, distilled", hub.deit),
    "swin_t": Entry("Swin-T", hub.swin),
    "beit_b16": Entry("BEiT-B/16", hub.beit),
    "clip_b32": Entry("CLIP ViT-B/32, images", hub.clip),
    "mobilevit_s": Entry("MobileViT-S", hub.mobilevit, 256),
    "segformer_b0": Entry("SegFormer-B0", hub.segformer, 512),
    "unet": Entry("U-Net", UNet, 256),
}


def random_model(name: str, seed: int, size: int | None = None, **settings: Any) -> torch.nn.Module:
    """The model in evaluation mode, the same for the same seed; `settings` and `size` for another than the full one.

    Raises UsageError without the package that it is made with.
    """
    entry = MODELS[name]
    if entry.package is not None and find_spec(entry.package) is None:
        raise UsageError(f"model {name}: expected the package {entry.package} (pip install 'alula[bench]'), got none")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = entry.make(**settings)
        settle(module, size or entry.size)
    return module
