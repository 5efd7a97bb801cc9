"""Importers of resizing and of sampling by a grid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alula.frontends.resizing import resized
from alula.frontends.sampling import CUBIC, grid_sample
from alula.frontends.torch.call import Call, imports
from alula.ir.graph import Value
from alula.ops.resize import ResizePlaces

Factors = Sequence[float] | None

MODES = ("linear", "nearest", "cubic")  # by PyTorch's numbers
PADDINGS = ("zeros", "border", "reflection")


def _resized(call: Call, x: Value, factors: Factors, where: str, method: str, **how: Any) -> Value:
    """x with another height and width: where a factor was given, it is the ratio, not that of the sizes."""
    axes = {}
    for number, axis in enumerate((2, 3)):
        size, wanted = x.type.shape[axis], call.type.shape[axis]
        if size != wanted or method == "nearest":
            scale = factors[number] if factors else 0.0
            axes[axis] = ResizePlaces(size, wanted, where, method, scale, **how)
    return resized(call, x, axes)


def _where(*, align: bool) -> str:
    return "align_corners" if align else "half_pixel"


@imports("aten.upsample_bilinear2d.vec")
def upsample_bilinear(call: Call, x: Value, size: object, align: bool, factors: Factors = None) -> Value:
    """x in another size, from the four pixels around."""
    return _resized(call, x, factors, _where(align=align), "linear")


@imports("aten.upsample_bicubic2d.vec")
def upsample_bicubic(call: Call, x: Value, size: object, align: bool, factors: Factors = None) -> Value:
    """x in another size, from the sixteen pixels around."""
    return _resized(call, x, factors, _where(align=align), "cubic", slope=CUBIC)


@imports("aten._upsample_bilinear2d_aa.vec")
def downsample_bilinear(call: Call, x: Value, size: object, align: bool, factors: Factors = None) -> Value:
    """x in another size, from all pixels of it that one of the result covers."""
    if align:
        call.refuse("with align_corners")
    return _resized(call, x, factors, "half_pixel", "linear", smooth=True, exclude=True)


@imports("aten.upsample_nearest2d.vec")
def upsample_nearest(call: Call, x: Value, size: object, factors: Factors = None) -> Value:
    """x in another size, by the pixel at or before each place."""
    return _resized(call, x, factors, "asymmetric", "nearest")


@imports("aten.grid_sampler.default", "aten.grid_sampler_2d.default", "aten.grid_sampler_3d.default")
def sample(call: Call, x: Value, grid: Value, mode: int, padding: int, align: bool) -> Value:
    """x at the places of a grid."""
    return grid_sample(call, x, grid, MODES[mode], PADDINGS[padding], align=align)
