"""Importers of resizing."""

from __future__ import annotations

from collections.abc import Mapping
from math import floor, inf, isfinite

import numpy as np

from alula.core.dims import Dim, Expr
from alula.frontends.onnx.call import Call, Operand, axis_of, imports
from alula.frontends.resizing import ROUNDINGS, Axis, cubic, interpolated, linear, placed, table
from alula.ir.graph import Value
from alula.ops.logic import Where

LARGEST_SIZE = 1 << 14

MODES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)


@imports("Resize")
def resize(call: Call, x: Value, roi: Value | None = None, scales: Value | None = None, sizes: Operand = None) -> Value:
    """x with other sizes; before opset 11 there are scales only."""
    if call.opset < 11:
        roi, scales = None, roi
    default = "half_pixel" if call.opset >= 11 else "asymmetric"
    mode, where = call.get("mode", "nearest"), call.get("coordinate_transformation_mode", default)
    rank = x.type.rank
    axes = [axis_of(call, axis, rank) for axis in call.get("axes", None) or range(rank)]
    if where not in MODES:
        call.refuse(f"with coordinate_transformation_mode {where!r:.40}")
    ranges = _ranges(call, roi, len(axes)) if where == "tf_crop_and_resize" else [(0.0, 1.0)] * len(axes)
    plans = _plans(call, x, axes, scales, sizes, ranges, where)
    if mode == "nearest":
        return _nearest(call, x, plans, where)
    if mode not in ("linear", "cubic"):
        call.refuse(f"with mode {mode!r:.40}")
    outside = call.get("extrapolation_value", 0.0)
    call.get("nearest_mode")  # of the other mode
    smooth, exclude = bool(call.get("antialias", 0)), bool(call.get("exclude_outside", 0))
    cubic_a = call.get("cubic_coeff_a", -0.75)
    coefficients = linear(smooth) if mode == "linear" else cubic(cubic_a, smooth)
    moved = {axis: plan for axis, plan in plans.items() if not plan.is_whole}
    tables = {axis: table(plan, where, coefficients, exclude=exclude) for axis, plan in moved.items()}
    return _framed(call, interpolated(call, x, tables), plans, where, outside)


@imports("Upsample")
def upsample(call: Call, x: Value, scales: Value | None = None) -> Value:
    """x with larger sizes, as Resize was called before."""
    mode = call.get("mode", "nearest")
    given = call.get("scales", None) if call.opset < 9 else None if scales is None else call.array(scales, "scales")
    if given is None or mode not in ("nearest", "linear", "bilinear"):
        call.refuse(f"with mode {mode!r:.40}")
    plans = _plans(call, x, list(range(x.type.rank)), call.graph.constant(np.asarray(given, np.float32)), None, None)
    if mode == "nearest":
        return placed(call, x, plans, "asymmetric", "floor")
    coefficients, grown = linear(smooth=False), {axis: plan for axis, plan in plans.items() if plan.scale != 1}
    tables = {axis: table(plan, "asymmetric", coefficients, exclude=False) for axis, plan in grown.items()}
    return interpolated(call, x, tables)


def _ranges(call: Call, roi: Value | None, count: int) -> list[tuple[float, float]]:
    values = call.array(roi, "a region").reshape(-1).tolist()
    if len(values) != 2 * count:
        call.refuse(f"with a region of {len(values)} numbers")
    return list(zip(values[:count], values[count:], strict=True))


def _wanted(call: Call, sizes: Operand) -> list[Dim]:
    """The sizes that are asked for; none where there is no such operand."""
    empty = sizes is None or (isinstance(sizes, Value) and sizes.type.elements == 0)
    return [] if empty else list(call.dims(sizes, "sizes"))


def _plans(
    call: Call,
    x: Value,
    axes: list[int],
    scales: Value | None,
    sizes: Operand,
    ranges: list[tuple[float, float]] | None,
    where: str = "",
) -> dict[int, Axis]:
    """What becomes of each axis."""
    ranges = ranges or [(0.0, 1.0)] * len(axes)
    given = [] if scales is None or scales.type.elements == 0 else call.array(scales, "scales").tolist()
    policy = call.get("keep_aspect_ratio_policy", "stretch")
    wanted = _wanted(call, sizes)
    if len(given) not in (0, len(axes)) or len(wanted) not in (0, len(axes)) or bool(given) == bool(wanted):
        call.refuse("without either scales or sizes for all axes")
    old = [x.type.shape[axis] for axis in axes]
    if wanted and policy != "stretch":
        ratios = [
            new / size
            for new, size in zip(wanted, old, strict=True)
            if isinstance(new, int) and isinstance(size, int) and size
        ]
        if len(ratios) != len(old) or policy not in ("not_larger", "not_smaller"):
            call.refuse(f"with keep_aspect_ratio_policy {policy!r:.40}")
        given = [min(ratios) if policy == "not_larger" else max(ratios)] * len(axes)
        wanted = [floor(size * ratio + 0.5) for size, ratio in zip(old, given, strict=True) if isinstance(size, int)]
    plans = {}
    for n, axis in enumerate(axes):
        size, (start, end) = old[n], ranges[n]
        if not isinstance(size, int):
            if (given and given[n] != 1) or (wanted and not given and wanted[n] != size):
                call.refuse("along the batch")
            continue
        asked = wanted[n] if wanted else None
        if isinstance(asked, Expr):
            call.refuse("to a size that depends on the batch")
        scale = float(given[n]) if given or asked is None else asked / max(size, 1)
        if not 0 < scale < inf or not all(map(isfinite, (start, end))):
            call.refuse(f"of {size} elements by {scale} from {start} to {end}")
        length = (
            asked
            if asked is not None
            else floor(size * scale * (end - start) if ranges[n] != (0.0, 1.0) else size * scale)
        )
        if where == "align_corners" and given and not float(size * scale).is_integer() and scale != 1:
            call.refuse(f"with align_corners of {size} elements by {scale:.6g}")  # ONNX and its runtime disagree
        if size < 1 or not 1 <= length <= LARGEST_SIZE or size > LARGEST_SIZE:
            call.refuse(f"of {size} to {length} elements")
        plans[axis] = Axis(size, length, scale, start, end)
    return plans


def _nearest(call: Call, x: Value, plans: dict[int, Axis], where: str) -> Value:
    rounding = call.get("nearest_mode", "round_prefer_floor" if call.opset >= 11 else "floor")
    for name in ("antialias", "exclude_outside", "cubic_coeff_a"):
        call.get(name)  # of other modes
    outside = call.get("extrapolation_value", 0.0)
    if rounding not in ROUNDINGS:
        call.refuse(f"with nearest_mode {rounding!r:.40}")
    return _framed(call, placed(call, x, plans, where, rounding), plans, where, outside)


def _framed(call: Call, y: Value, plans: Mapping[int, Axis], where: str, outside: float) -> Value:
    """y with one number where the region that is looked at lies outside of the source."""
    for axis, plan in plans.items():
        beyond = np.array([plan.source(where, place) is None for place in range(plan.wanted)])
        if beyond.any():
            frame = call.graph.constant(beyond.reshape([-1 if n == axis else 1 for n in range(y.type.rank)]))
            y = call.add(Where(), frame, call.like(outside, y), y)
    return y
