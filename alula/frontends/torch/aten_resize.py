"""Importers of resizing and of sampling by a grid."""

from __future__ import annotations

from collections.abc import Sequence

from alula.frontends import resizing
from alula.frontends.sampling import CUBIC, grid_sample
from alula.frontends.torch.call import Call, imports
from alula.ir.graph import Value

Factors = Sequence[float] | None

MODES = ("linear", "nearest", "cubic")  # by PyTorch's numbers
PADDINGS = ("zeros", "border", "reflection")


def _axes(call: Call, x: Value, factors: Factors) -> dict[int, resizing.Axis]:
    """What becomes of height and width: where a factor was given, it is the ratio, not that of the sizes."""
    axes = {}
    for number, axis in enumerate((2, 3)):
        size, wanted = x.type.shape[axis], call.type.shape[axis]
        if not isinstance(size, int) or not isinstance(wanted, int):
            call.refuse(f"of an input {x.type}")
        axes[axis] = resizing.Axis(size, wanted, factors[number] if factors else wanted / size)
    return axes


def _smoothly(
    call: Call, x: Value, factors: Factors, kind: resizing.Coefficients, *, align: bool, inside: bool = False
) -> Value:
    where = "align_corners" if align else "half_pixel"
    moved = {axis: plan for axis, plan in _axes(call, x, factors).items() if plan.size != plan.wanted}
    tables = {axis: resizing.table(plan, where, kind, exclude=inside) for axis, plan in moved.items()}
    return resizing.interpolated(call, x, tables)


@imports("aten.upsample_bilinear2d.vec")
def upsample_bilinear(call: Call, x: Value, size: object, align: bool, factors: Factors = None) -> Value:
    """x in another size, from the four pixels around."""
    return _smoothly(call, x, factors, resizing.linear(smooth=False), align=align)


@imports("aten.upsample_bicubic2d.vec")
def upsample_bicubic(call: Call, x: Value, size: object, align: bool, factors: Factors = None) -> Value:
    """x in another size, from the sixteen pixels around."""
    return _smoothly(call, x, factors, resizing.cubic(CUBIC, smooth=False), align=align)


@imports("aten._upsample_bilinear2d_aa.vec")
def downsample_bilinear(call: Call, x: Value, size: object, align: bool, factors: Factors = None) -> Value:
    """x in another size, from all pixels of it that one of the result covers."""
    if align:
        call.refuse("with align_corners")
    return _smoothly(call, x, factors, resizing.linear(smooth=True), align=False, inside=True)


@imports("aten.upsample_nearest2d.vec")
def upsample_nearest(call: Call, x: Value, size: object, factors: Factors = None) -> Value:
    """x in another size, by the pixel at or before each place."""
    return resizing.placed(call, x, _axes(call, x, factors), "asymmetric", "floor")


@imports("aten.grid_sampler.default", "aten.grid_sampler_2d.default", "aten.grid_sampler_3d.default")
def sample(call: Call, x: Value, grid: Value, mode: int, padding: int, align: bool) -> Value:
    """x at the places of a grid."""
    return grid_sample(call, x, grid, MODES[mode], PADDINGS[padding], align=align)
