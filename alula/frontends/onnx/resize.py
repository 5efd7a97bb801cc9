"""Importers of resizing."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import floor, inf, isfinite
from typing import Any

import numpy as np

from alula.core.dims import Dim
from alula.frontends.onnx.call import Call, Operand, axis_of, imports
from alula.frontends.resizing import resized
from alula.ir.graph import Value
from alula.ops.logic import Where
from alula.ops.resize import LARGEST_SIZE, ROUNDINGS, TERMS, WHERES, ResizePlaces

WHOLE = (0.0, 1.0)  # of an axis
LARGEST_DIVISOR = 64  # of a scale of an axis that is open


@imports("Resize")
def resize(call: Call, x: Value, roi: Value | None = None, scales: Value | None = None, sizes: Operand = None) -> Value:
    """x with other sizes; before opset 11 there are scales only."""
    if call.opset < 11:
        roi, scales = None, roi
    default = "half_pixel" if call.opset >= 11 else "asymmetric"
    mode, where = call.get("mode", "nearest"), call.get("coordinate_transformation_mode", default)
    rank = x.type.rank
    axes = [axis_of(call, axis, rank) for axis in call.get("axes", None) or range(rank)]
    rounding = call.get("nearest_mode", "round_prefer_floor" if call.opset >= 11 else "floor")
    if (where, mode, rounding) == ("tf_half_pixel_for_nn", "nearest", "floor"):
        where, rounding = "half_pixel", "round_prefer_ceil"  # floor((n + 1/2) / scale): the same in one's own words
    if where not in WHERES:
        call.refuse(f"with coordinate_transformation_mode {where!r:.40}")
    ranges = _ranges(call, roi, len(axes)) if where == "tf_crop_and_resize" else [WHOLE] * len(axes)
    how: dict[str, Any] = {"where": where, "method": mode}
    smooth, exclude = bool(call.get("antialias", 0)), bool(call.get("exclude_outside", 0))
    slope, outside = call.get("cubic_coeff_a", -0.75), call.get("extrapolation_value", 0.0)
    if mode == "nearest":
        if rounding not in ROUNDINGS:
            call.refuse(f"with nearest_mode {rounding!r:.40}")
        how |= {"rounding": rounding}
    elif mode in TERMS:
        how |= {"smooth": smooth, "exclude": exclude, "slope": slope}
    else:
        call.refuse(f"with mode {mode!r:.40}")
    plans = _plans(call, x, axes, scales, sizes, ranges, how)
    return _framed(call, resized(call, x, plans), plans, outside)


@imports("Upsample")
def upsample(call: Call, x: Value, scales: Value | None = None) -> Value:
    """x with larger sizes, as Resize was called before."""
    mode = call.get("mode", "nearest")
    given = call.get("scales", None) if call.opset < 9 else None if scales is None else call.array(scales, "scales")
    if given is None or mode not in ("nearest", "linear", "bilinear"):
        call.refuse(f"with mode {mode!r:.40}")
    how = {"where": "asymmetric", "method": "nearest" if mode == "nearest" else "linear"}
    factors = call.graph.constant(np.asarray(given, np.float32))
    return resized(call, x, _plans(call, x, list(range(x.type.rank)), factors, None, None, how))


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
    how: Mapping[str, Any],
) -> dict[int, ResizePlaces]:
    """What becomes of each axis."""
    ranges = ranges or [WHOLE] * len(axes)
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
        size, scale = old[n], float(given[n]) if given else 0.0
        if (scale in (0, 1) and (not wanted or wanted[n] == size) and ranges[n] == WHOLE) or size == 0:
            continue
        if (given and not 0 < scale < inf) or not all(map(isfinite, ranges[n])):
            call.refuse(f"of {size} elements by {scale} from {ranges[n][0]} to {ranges[n][1]}")
        length = wanted[n] if wanted else _scaled(call, size, scale, ranges[n])
        whole = isinstance(size, int) and float(size * scale).is_integer()
        if how["where"] == "align_corners" and given and not whole:
            call.refuse(f"with align_corners of {size} elements by {scale:.6g}")  # ONNX and its runtime disagree
        if any(isinstance(dim, int) and not 1 <= dim <= LARGEST_SIZE for dim in (size, length)):
            call.refuse(f"of {size} to {length} elements")
        plans[axis] = ResizePlaces(size=size, wanted=length, scale=scale, start=ranges[n][0], end=ranges[n][1], **how)
    return plans


def _scaled(call: Call, size: Dim, scale: float, part: tuple[float, float]) -> Dim:
    """floor(size * scale), of the part of the axis, in float32 as ONNX infers shapes: 20 by float32(0.65) is 13."""
    if isinstance(size, int):
        return floor(size * scale * (part[1] - part[0]) if part != WHOLE else np.float32(size) * np.float32(scale))
    ratio = Fraction(scale).limit_denominator(LARGEST_DIVISOR)
    if part != WHOLE or float(ratio) != scale:
        call.refuse(f"of {size} elements by {scale:.9g}")
    return size * ratio.numerator // ratio.denominator


def _framed(call: Call, y: Value, plans: Mapping[int, ResizePlaces], outside: float) -> Value:
    """y with one number where the region that is looked at lies outside of the source."""
    for axis, plan in plans.items():
        if plan.where != "tf_crop_and_resize":
            continue
        if not isinstance(plan.size, int) or not isinstance(plan.wanted, int):
            call.refuse(f"with tf_crop_and_resize of {plan.size} elements")
        beyond = np.array([plan.source(place) is None for place in range(plan.wanted)])
        if beyond.any():
            frame = call.graph.constant(beyond.reshape([-1 if n == axis else 1 for n in range(y.type.rank)]))
            y = call.add(Where(), frame, call.like(outside, y), y)
    return y
