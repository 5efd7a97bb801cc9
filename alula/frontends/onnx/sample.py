"""Importers of what reads between pixels, at places that only a run knows."""

from __future__ import annotations

from math import prod

import numpy as np

from alula.core.dtype import Array, DType
from alula.frontends import sampling
from alula.frontends.moves import cut
from alula.frontends.onnx.call import Call, imports
from alula.frontends.onnx.conv import from_image, padding, products_of_windows, two
from alula.frontends.onnx.shape import join
from alula.ir.graph import Value
from alula.ir.types import fixed
from alula.ops import elementwise as ops
from alula.ops import logic

MODES = {"bilinear": "linear", "linear": "linear", "nearest": "nearest", "bicubic": "cubic", "cubic": "cubic"}


@imports("GridSample")
def grid_sample(call: Call, x: Value, grid: Value) -> Value:
    """x at the places of a grid."""
    mode, around = call.get("mode", "linear"), call.get("padding_mode", "zeros")
    if mode not in MODES or around not in ("zeros", "border", "reflection"):
        call.refuse(f"with mode {mode!r:.40} and padding_mode {around!r:.40}")
    wide, places = call.cast(x, DType.F32), call.cast(grid, DType.F32)
    align = bool(call.get("align_corners", 0))
    return call.cast(sampling.grid_sample(call, wide, places, MODES[mode], around, align=align), x.type.dtype)


@imports("RoiAlign")
def roi_align(call: Call, x: Value, rois: Value, batch: Value) -> Value:
    """Means over a grid of cells in each region, of so many samples a cell."""
    mode, each = call.get("mode", "avg"), call.get("sampling_ratio", 0)
    default = "half_pixel" if call.opset >= 16 else "output_half_pixel"
    where = call.get("coordinate_transformation_mode", default)
    scale = call.get("spatial_scale", 1.0)
    cells = [call.get("output_height", 1), call.get("output_width", 1)]
    if mode != "avg" or where not in ("half_pixel", "output_half_pixel"):
        call.refuse(f"with mode {mode!r:.40} and coordinate_transformation_mode {where!r:.40}")
    if each < 1:
        call.refuse("with a sampling_ratio of 0: the number of samples would depend on the regions")
    if any(not 1 <= count <= 1 << 12 for count in (*cells, each)):
        call.refuse(f"of {cells} cells of {each} samples")
    if rois.type.rank != 2 or batch.type.shape != rois.type.shape[:1]:
        call.refuse(f"of regions {rois.type} in pictures {batch.type}")
    n, c, h, w = x.type.dims("NCHW")
    sizes = (fixed(h, "height"), fixed(w, "width"))
    count, half = rois.type.shape[0], 0.5 if where == "half_pixel" else 0.0
    corners = call.add(ops.Sub(), call.add(ops.Mul(), rois, call.like(scale, rois)), call.like(half, rois))
    axes = []
    for axis, size in enumerate(sizes):
        low, high = (cut(call, corners, 1, place, place + 1) for place in (1 - axis, 3 - axis))
        length = call.add(ops.Sub(), high, low)
        if not half:
            length = call.add(ops.Maximum(), length, call.like(1, length))
        spots = (np.arange(cells[axis] * each) + 0.5) / each / cells[axis]
        at = call.add(ops.Add(), low, call.add(ops.Mul(), length, call.constant(spots, DType.F32)))
        axes.append(_region_taps(call, call.reshape(at, count, cells[axis] * each, 1), size, cells[axis], each))
    down, across = axes
    rows, columns = (call.reshape(v, count, cells[0], 1, 2 * each) for v in (down.indices, down.weights))
    down = sampling.Taps(rows, columns, down.size)
    rows, columns = (call.reshape(v, count, 1, cells[1], 2 * each) for v in (across.indices, across.weights))
    across = sampling.Taps(rows, columns, across.size)
    first = call.add(ops.Mul(), call.cast(batch, DType.I64), call.constant(prod(sizes), DType.I64))
    pixels = call.reshape(sampling.pixels_first(call, x), n * prod(sizes), c)
    y = sampling.blended(call, pixels, (down, across), 0, call.reshape(first, count, 1, 1, 1))
    return call.transpose(y, 0, 3, 1, 2)


def _region_taps(call: Call, at: Value, size: int, cells: int, each: int) -> sampling.Taps:
    """Linear taps of all samples of each cell, their mean; a sample more than one pixel outside counts nothing."""
    inside = call.add(
        logic.And(),
        call.add(logic.LessOrEqual(), call.like(-1, at), at),
        call.add(logic.LessOrEqual(), at, call.like(size, at)),
    )
    taps = sampling.linear(call, sampling.clamped(call, at, size), size)
    share = call.add(ops.Mul(), taps.weights, call.like(1 / each, at))
    return sampling.Taps(taps.indices, call.add(logic.Where(), inside, share, call.like(0, at)), size)


@imports("DeformConv")
def deform_conv(
    call: Call, x: Value, weight: Value, offset: Value, bias: Value | None = None, mask: Value | None = None
) -> Value:
    """A convolution whose windows take their elements at places that are moved by offsets, weighted by a mask."""
    groups, parts = call.get("group", 1), call.get("offset_group", 1)
    n, c, h, w = x.type.dims("NCHW")
    kernel = two(call, [fixed(dim, "kernel") for dim in weight.type.shape[2:]], 1, 2)
    if call.get("kernel_shape", None) not in (None, [], list(kernel)):
        call.refuse(f"with a kernel_shape that is not the weight's {kernel}")
    stride, dilation = (two(call, call.get(name, None), 1, 2) for name in ("strides", "dilations"))
    sides = padding(call, (h, w), kernel, stride, dilation)
    sizes, channels = (fixed(h, "height"), fixed(w, "width")), fixed(c, "channel count")
    _, moved, oh, ow = offset.type.dims("NCHW")
    outs, spots = (fixed(oh, "height"), fixed(ow, "width")), prod(kernel)
    if parts < 1 or channels % parts or moved != parts * spots * 2:
        call.refuse(f"of {x.type} in {parts} groups with offsets {offset.type}")
    last = call.transpose(offset, 0, 2, 3, 1)
    apart = call.reshape(last, n, *outs, parts, spots, 2)
    pixels, own, windows = sampling.pixels_first(call, x), channels // parts, []
    for part in range(parts):
        mine = call.reshape(cut(call, apart, 3, part, part + 1), n, *outs, spots, 2)
        axes = []
        for axis, size in enumerate(sizes):
            start = _window_places(outs, kernel, axis, stride[axis], dilation[axis], sides[axis][0])
            at = call.add(ops.Add(), cut(call, mine, 4, axis, axis + 1), call.constant(start, x.type.dtype))
            taps = sampling.linear(call, call.reshape(at, n, prod(outs) * spots, 1), size)
            axes.append(sampling.zeros_outside(call, taps))
        taken = sampling.blended(call, cut(call, pixels, 2, part * own, (part + 1) * own), axes, 1)
        taken = call.reshape(taken, n, *outs, spots, own)
        if mask is not None:
            shares = call.reshape(call.transpose(mask, 0, 2, 3, 1), n, *outs, parts, spots)
            share = call.reshape(cut(call, shares, 3, part, part + 1), n, *outs, spots, 1)
            taken = call.add(ops.Mul(), taken, share)
        windows.append(taken)
    return from_image(call, products_of_windows(call, join(call, windows, 4), weight, bias, groups), 2)


def _window_places(
    outs: tuple[int, int], kernel: tuple[int, int], axis: int, stride: int, dilation: int, pad: int
) -> Array:
    """Where along an axis the elements of all windows are: [oh, ow, spots, 1]."""
    places = np.indices((*outs, *kernel))
    at = places[axis] * stride + places[2 + axis] * dilation - pad
    return np.asarray(at.reshape(*outs, -1, 1), np.float32)
