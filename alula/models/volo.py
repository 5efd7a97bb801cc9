"""VOLO, the vision outlooker: an image classifier of outlook attention, self-attention and class attention.

Source: Yuan, Hou, Jiang, Feng, Yan, "VOLO: Vision Outlooker for Visual Recognition", arXiv 2106.13112, for the blocks
and for D1 to D5.  What the paper leaves open (strides, order of operations, initialisation) and the names in the state
dict are those of the authors' release, https://github.com/sail-sg/volo, so its checkpoints load unchanged.  Dropout,
stochastic depth, token mixing and token labelling act only in the authors' training and are absent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from alula.core.errors import ImportFailed, UsageError

STEM_STRIDE = 2
POOLING = 2  # between the outlookers' grid and the transformers'
WINDOW = 3  # an outlook window is 3x3, one every `WINDOW_STRIDE` tokens
WINDOW_STRIDE = 2
INITIAL_STD = 0.02
AUXILIARY_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class VoloConfig:
    """The shape of one VOLO.  `widths` and `heads` are (outlookers, transformers); sizes in pixels, tokens otherwise.

    Raises UsageError for numbers that make no network.
    """

    outlookers: int
    transformers: tuple[int, ...]
    widths: tuple[int, int]
    heads: tuple[int, int]
    mlp_ratio: int = 3
    stem_width: int = 64
    patch_size: int = 8
    class_blocks: int = 2
    image_size: int = 224
    num_classes: int = 1000

    def __post_init__(self) -> None:
        step = self.patch_size * POOLING
        if self.image_size < step or self.image_size % step:
            raise UsageError(f"volo image size: expected a positive multiple of {step}, got {self.image_size}")
        if self.num_classes < 1:
            raise UsageError(f"volo class count: expected at least 1, got {self.num_classes}")
        if self.patch_size % STEM_STRIDE:
            raise UsageError(f"volo patch size: expected a multiple of {STEM_STRIDE}, got {self.patch_size}")
        if any(width % heads for width, heads in zip(self.widths, self.heads, strict=True)):
            raise UsageError(f"volo widths: expected multiples of the heads {self.heads}, got {self.widths}")

    @property
    def grid(self) -> int:
        """Tokens along a side of the transformers' square grid: that of the position embedding."""
        return self.image_size // self.patch_size // POOLING


D1 = VoloConfig(outlookers=4, transformers=(4, 8, 2), widths=(192, 384), heads=(6, 12))
D2 = VoloConfig(outlookers=6, transformers=(4, 10, 4), widths=(256, 512), heads=(8, 16))
D3 = VoloConfig(outlookers=8, transformers=(8, 16, 4), widths=(256, 512), heads=(8, 16))
D4 = VoloConfig(outlookers=8, transformers=(8, 16, 4), widths=(384, 768), heads=(12, 16))
D5 = VoloConfig(outlookers=12, transformers=(12, 20, 4), widths=(384, 768), heads=(12, 16), mlp_ratio=4, stem_width=128)


class OutlookAttention(nn.Module):
    """y[b,h,w,c] from x[b,h,w,c]: each 3x3 window of values is mixed by weights computed from its centre alone.

    A window stands on every second token.  The mean of the (at most) 2x2 tokens it owns gives, per head, a 9x9 matrix
    of weights (softmax over the last axis); its 9 mixed values are added back where they came from.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.v = nn.Linear(width, width, bias=False)
        self.attn = nn.Linear(width, heads * WINDOW**4)
        self.proj = nn.Linear(width, width)
        self.unfold = nn.Unfold(kernel_size=WINDOW, padding=WINDOW // 2, stride=WINDOW_STRIDE)
        self.pool = nn.AvgPool2d(kernel_size=WINDOW_STRIDE, stride=WINDOW_STRIDE, ceil_mode=True)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        centres = self.pool(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        rows, columns = centres.shape[1:3]
        windows, spots = rows * columns, WINDOW * WINDOW
        weights = self.attn(centres).reshape(batch, windows, self.heads, spots, spots).permute(0, 2, 1, 3, 4)
        weights = (weights * self.scale).softmax(dim=-1)
        values = self.unfold(self.v(x).permute(0, 3, 1, 2))
        values = values.reshape(batch, self.heads, channels // self.heads, spots, windows).permute(0, 1, 4, 3, 2)
        mixed = (weights @ values).permute(0, 1, 4, 3, 2).reshape(batch, channels * spots, windows)
        folded = functional.fold(
            mixed, output_size=(height, width), kernel_size=WINDOW, padding=WINDOW // 2, stride=WINDOW_STRIDE
        )
        projected: Tensor = self.proj(folded.permute(0, 2, 3, 1))
        return projected


class Attention(nn.Module):
    """y[b,h,w,c] from x[b,h,w,c]: every token attends to all h * w tokens.  Scaled dot products, as in ViT."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.qkv = nn.Linear(width, width * 3, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        split = self.qkv(x).reshape(batch, height * width, 3, self.heads, channels // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        weights = ((query @ key.transpose(-2, -1)) * self.scale).softmax(dim=-1)
        projected: Tensor = self.proj((weights @ value).transpose(1, 2).reshape(batch, height, width, channels))
        return projected


class ClassAttention(nn.Module):
    """y[b,1,c] from x[b,n,c]: the class token, x[:, :1], attends to all n tokens.  Touvron et al., arXiv 2103.17239."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.scale = (width // heads) ** -0.5
        self.kv = nn.Linear(width, width * 2, bias=False)
        self.q = nn.Linear(width, width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, channels = x.shape
        split = self.kv(x).reshape(batch, tokens, 2, self.heads, channels // self.heads)
        key, value = split.permute(2, 0, 3, 1, 4).unbind(0)
        query = self.q(x[:, :1]).reshape(batch, self.heads, 1, channels // self.heads) * self.scale
        weights = (query @ key.transpose(-2, -1)).softmax(dim=-1)
        projected: Tensor = self.proj((weights @ value).transpose(1, 2).reshape(batch, 1, channels))
        return projected


class Mlp(nn.Module):
    """y[...,c] from x[...,c]: one hidden layer of `hidden` units, GELU with the error function."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.fc2(self.act(self.fc1(x)))
        return out


class Block(nn.Module):
    """y[b,h,w,c] from x[b,h,w,c]: attention, then MLP, each normalised before and added to what came in."""

    def __init__(self, width: int, attention: nn.Module, mlp_ratio: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = attention
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, width * mlp_ratio)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.norm1(x))
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


class ClassBlock(Block):
    """y[b,n,c] from x[b,n,c]: the same around class attention; only the class token, y[:, :1], changes."""

    def forward(self, x: Tensor) -> Tensor:
        token = x[:, :1] + self.attn(self.norm1(x))
        token = token + self.mlp(self.norm2(token))
        return torch.cat([token, x[:, 1:]], dim=1)


class PatchEmbed(nn.Module):
    """Tokens[b,width,s/patch,s/patch] from images[b,3,s,s]: three convolutions at half the size, then one per patch."""

    def __init__(self, stem_width: int, patch_size: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels, kernel, stride in ((3, 7, STEM_STRIDE), (stem_width, 3, 1), (stem_width, 3, 1)):
            convolution = nn.Conv2d(channels, stem_width, kernel, stride=stride, padding=kernel // 2, bias=False)
            layers += [convolution, nn.BatchNorm2d(stem_width), nn.ReLU(inplace=True)]
        self.conv = nn.Sequential(*layers)
        patch = patch_size // STEM_STRIDE
        self.proj = nn.Conv2d(stem_width, width, kernel_size=patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        tokens: Tensor = self.proj(self.conv(images))
        return tokens


class Downsample(nn.Module):
    """y[b,h/2,w/2,wide] from x[b,h,w,c]: one convolution over non-overlapping 2x2 squares."""

    def __init__(self, width: int, wide: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(width, wide, kernel_size=POOLING, stride=POOLING)

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = self.proj(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return pooled


class Volo(nn.Module):
    """Logits f32[b,num_classes] from images f32[b,3,s,s], s = config.image_size, normalised as the checkpoint expects.

    The class token's logits plus half of the largest logit, class by class, that any other token votes for.
    """

    def __init__(self, config: VoloConfig) -> None:
        super().__init__()
        self.config = config
        fine, coarse = config.widths
        few, many = config.heads
        self.patch_embed = PatchEmbed(config.stem_width, config.patch_size, fine)
        self.pos_embed = nn.Parameter(torch.zeros(1, config.grid, config.grid, coarse))
        outlookers = [Block(fine, OutlookAttention(fine, few), config.mlp_ratio) for _ in range(config.outlookers)]
        stages: list[nn.Module] = [nn.Sequential(*outlookers), Downsample(fine, coarse)]
        for depth in config.transformers:
            blocks = [Block(coarse, Attention(coarse, many), config.mlp_ratio) for _ in range(depth)]
            stages.append(nn.Sequential(*blocks))
        self.network = nn.ModuleList(stages)
        self.post_network = nn.ModuleList(
            ClassBlock(coarse, ClassAttention(coarse, many), config.mlp_ratio) for _ in range(config.class_blocks)
        )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, coarse))
        self.aux_head = nn.Linear(coarse, config.num_classes)
        self.norm = nn.LayerNorm(coarse)
        self.head = nn.Linear(coarse, config.num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """Linear layers, class token and positions as the authors start them; the rest as PyTorch does."""
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=INITIAL_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        nn.init.trunc_normal_(self.pos_embed, std=INITIAL_STD)
        nn.init.trunc_normal_(self.cls_token, std=INITIAL_STD)

    def features(self, images: Tensor) -> Tensor:
        """Normalised tokens[b,1+n,c] of images[b,3,s,s]: the class token, then the n = grid * grid others.

        Raises ImportFailed where it is exported with an open height or width.
        """
        if any(isinstance(size, torch.SymInt) for size in images.shape[2:]):
            side = self.config.image_size
            raise ImportFailed(
                f"VOLO: expected images of {side} x {side}, which its stem and position embedding fix, "
                "got an open height or width"
            )
        x = self.patch_embed(images).permute(0, 2, 3, 1)
        outlookers, downsample, *transformers = self.network
        x = downsample(outlookers(x)) + self.pos_embed
        for stage in transformers:
            x = stage(x)
        batch, height, width, channels = x.shape
        x = x.reshape(batch, height * width, channels)
        x = torch.cat((self.cls_token.expand(batch, -1, -1), x), dim=1)
        for block in self.post_network:
            x = block(x)
        tokens: Tensor = self.norm(x)
        return tokens

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.features(images)
        votes = self.aux_head(tokens[:, 1:]).max(1)[0]
        logits: Tensor = self.head(tokens[:, 0]) + AUXILIARY_SHARE * votes
        return logits


def _volo(config: VoloConfig, image_size: int, num_classes: int) -> Volo:
    return Volo(replace(config, image_size=image_size, num_classes=num_classes)).eval()


def volo_d1(image_size: int = 224, num_classes: int = 1000) -> Volo:
    """VOLO-D1, 26.6 M parameters, freshly initialised from torch's generator, in evaluation mode."""
    return _volo(D1, image_size, num_classes)


def volo_d2(image_size: int = 224, num_classes: int = 1000) -> Volo:
    """VOLO-D2, 58.7 M parameters, freshly initialised from torch's generator, in evaluation mode."""
    return _volo(D2, image_size, num_classes)


def volo_d3(image_size: int = 224, num_classes: int = 1000) -> Volo:
    """VOLO-D3, 86.3 M parameters, freshly initialised from torch's generator, in evaluation mode."""
    return _volo(D3, image_size, num_classes)


def volo_d4(image_size: int = 224, num_classes: int = 1000) -> Volo:
    """VOLO-D4, 193 M parameters, freshly initialised from torch's generator, in evaluation mode."""
    return _volo(D4, image_size, num_classes)


def volo_d5(image_size: int = 224, num_classes: int = 1000) -> Volo:
    """VOLO-D5, 296 M parameters, freshly initialised from torch's generator, in evaluation mode."""
    return _volo(D5, image_size, num_classes)
