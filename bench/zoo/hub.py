"""Vision models of the `transformers` package, made from their configurations, with random weights.

Settings are the configuration's; each function's own are those of the published model that its name stands for.
"""

from __future__ import annotations

from typing import Any

import torch

CLASSES = 1000
PLAIN = "eager"  # attention by products: PyTorch 2.13 cannot export its fused one with a bias to ONNX


class Answer(torch.nn.Module):
    """One field of the structure that a model answers with.  images f32[b,3,h,w] -> f32[b,...]."""

    def __init__(self, model: torch.nn.Module, field: str = "logits") -> None:
        super().__init__()
        self.model = model
        self.field = field

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        answer: torch.Tensor = getattr(self.model(pixel_values=images), self.field)
        return answer


def vit(**settings: Any) -> torch.nn.Module:
    """A vision transformer; ViT-B/16 at 224 pixels (arXiv 2010.11929)."""
    from transformers import ViTConfig, ViTForImageClassification

    return Answer(ViTForImageClassification(ViTConfig(num_labels=CLASSES, **settings)))


def deit(**settings: Any) -> torch.nn.Module:
    """A vision transformer with a distillation token; DeiT-S/16 (arXiv 2012.12877)."""
    from transformers import DeiTConfig, DeiTForImageClassificationWithTeacher

    small = {"hidden_size": 384, "num_attention_heads": 6, "intermediate_size": 1536}
    return Answer(DeiTForImageClassificationWithTeacher(DeiTConfig(num_labels=CLASSES, **small | settings)))


def beit(**settings: Any) -> torch.nn.Module:
    """A vision transformer with relative position bias and layer scale; BEiT-B/16 (arXiv 2106.08254)."""
    from transformers import BeitConfig, BeitForImageClassification

    bias = {"use_relative_position_bias": True, "use_mean_pooling": True, "attn_implementation": PLAIN}
    config = BeitConfig(num_labels=CLASSES, **bias, **settings)
    return Answer(BeitForImageClassification(config))


def clip(**settings: Any) -> torch.nn.Module:
    """CLIP's image tower with its projection; ViT-B/32 (arXiv 2103.00020)."""
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return Answer(CLIPVisionModelWithProjection(CLIPVisionConfig(**settings)), "image_embeds")


def swin(**settings: Any) -> torch.nn.Module:
    """A transformer over shifted windows; Swin-T (arXiv 2103.14030)."""
    from transformers import SwinConfig, SwinForImageClassification

    config = SwinConfig(num_labels=CLASSES, attn_implementation=PLAIN, **settings)
    return Answer(SwinForImageClassification(config))


def segformer(**settings: Any) -> torch.nn.Module:
    """A segmenting transformer; SegFormer-B0 for 150 classes (arXiv 2105.15203)."""
    from transformers import SegformerConfig, SegformerForSemanticSegmentation

    return Answer(SegformerForSemanticSegmentation(SegformerConfig(num_labels=150, **settings)))


def mobilevit(**settings: Any) -> torch.nn.Module:
    """A convolutional network with transformers inside; MobileViT-S (arXiv 2110.02178)."""
    from transformers import MobileViTConfig, MobileViTForImageClassification

    return Answer(MobileViTForImageClassification(MobileViTConfig(num_labels=CLASSES, **settings)))


def convnext(**settings: Any) -> torch.nn.Module:
    """A convolutional network after transformers' model; ConvNeXt-T (arXiv 2201.03545)."""
    from transformers import ConvNextConfig, ConvNextForImageClassification

    return Answer(ConvNextForImageClassification(ConvNextConfig(num_labels=CLASSES, **settings)))


def resnet(**settings: Any) -> torch.nn.Module:
    """A residual network; ResNet-50 (arXiv 1512.03385)."""
    from transformers import ResNetConfig, ResNetForImageClassification

    return Answer(ResNetForImageClassification(ResNetConfig(num_labels=CLASSES, **settings)))


def regnet(**settings: Any) -> torch.nn.Module:
    """Residual blocks of grouped convolutions with squeeze and excitation; RegNetY-4GF (arXiv 2003.13678)."""
    from transformers import RegNetConfig, RegNetForImageClassification

    return Answer(RegNetForImageClassification(RegNetConfig(num_labels=CLASSES, **settings)))


def mobilenet_v2(**settings: Any) -> torch.nn.Module:
    """Inverted residuals; MobileNetV2 1.0, padded as TensorFlow does (arXiv 1801.04381)."""
    from transformers import MobileNetV2Config, MobileNetV2ForImageClassification

    return Answer(MobileNetV2ForImageClassification(MobileNetV2Config(num_labels=CLASSES, **settings)))


def efficientnet(**settings: Any) -> torch.nn.Module:
    """Inverted residuals with squeeze and excitation; EfficientNet-B0 (arXiv 1905.11946)."""
    from transformers import EfficientNetConfig, EfficientNetForImageClassification

    b0 = {"width_coefficient": 1.0, "depth_coefficient": 1.0, "hidden_dim": 1280, "image_size": 224}
    return Answer(EfficientNetForImageClassification(EfficientNetConfig(num_labels=CLASSES, **b0 | settings)))
