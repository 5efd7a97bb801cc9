"""Resizing and sampling by a grid as PyTorch has them."""

import torch
from torch.nn import functional as F

from tests.frontends.torch.importing import agree, all_agree, op_names

SHAPE = (3, 6, 5)


def grid(x):
    """Places around and beyond the picture that depend on it."""
    return torch.tanh(x[:, :2, :4]).permute(0, 2, 3, 1) * 1.4


RESIZED = {
    "bilinear": lambda x: F.interpolate(x, (9, 8), mode="bilinear"),
    "bilinear by a factor": lambda x: F.interpolate(x, scale_factor=(1.7, 2.0), mode="bilinear"),
    "bilinear, corners": lambda x: F.interpolate(x, (9, 2), mode="bilinear", align_corners=True),
    "bilinear, smoothed": lambda x: F.interpolate(x, (3, 4), mode="bilinear", antialias=True),
    "bicubic": lambda x: F.interpolate(x, (9, 8), mode="bicubic"),
    "nearest": lambda x: F.interpolate(x, scale_factor=2),
    "nearest to a size": lambda x: F.interpolate(x, (4, 9)),
}
SAMPLED = {
    f"{mode}, {padding}, {align}": (
        lambda x, mode=mode, padding=padding, align=align: F.grid_sample(x, grid(x), mode, padding, align_corners=align)
    )
    for mode in ("bilinear", "nearest", "bicubic")
    for padding in ("zeros", "border", "reflection")
    for align in (False, True)
}


def test_resizing() -> None:
    all_agree(RESIZED, *SHAPE, bound=4e-6)


def test_sampling() -> None:
    all_agree(SAMPLED, *SHAPE, bound=1e-5)


def test_a_picture_is_interpolated_with_channels_last() -> None:
    names = op_names(agree(RESIZED["bilinear"], *SHAPE, bound=4e-6))
    assert names == ["transpose", "interpolate", "interpolate", "transpose"]
