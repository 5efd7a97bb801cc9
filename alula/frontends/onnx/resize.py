"""Importers of resizing: nearest by places, linear and cubic by a matrix for each axis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np

from alula.core.dtype import Array
from alula.frontends.onnx.call import Call, axis_of, imports
from alula.frontends.onnx.indexing import taken
from alula.ir.graph import Value
from alula.ops.matmul import Linear

LARGEST_SIZE = 1 << 14

Coefficients = Callable[[float, float], Array]


@dataclass(frozen=True)
class _Axis:
    """One axis: how many elements there are and shall be, their ratio, and the part that is looked at."""

    size: int
    wanted: int
    scale: float
    start: float = 0.0
    end: float = 1.0

    def source(self, mode: str, place: int) -> float | None:
        """Where in the source an element lies; None outside of it."""
        last, scale = self.size - 1, self.scale
        match mode:
            case "half_pixel":
                return (place + 0.5) / scale - 0.5
            case "half_pixel_symmetric":
                adjustment = self.wanted / (scale * self.size)
                return self.size / 2 * (1 - adjustment) + (place + 0.5) / scale - 0.5
            case "pytorch_half_pixel":
                return (place + 0.5) / scale - 0.5 if self.wanted > 1 else 0.0
            case "align_corners":
                return place * last / (self.wanted - 1) if self.wanted > 1 else 0.0
            case "asymmetric":
                return place / scale
        if self.wanted > 1:  # tf_crop_and_resize
            at = self.start * last + place * (self.end - self.start) * last / (self.wanted - 1)
        else:
            at = 0.5 * (self.start + self.end) * last
        return at if 0 <= at <= last else None


MODES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
ROUNDINGS: dict[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda x: ceil(x - 0.5),
    "round_prefer_ceil": lambda x: floor(x + 0.5),
    "floor": floor,
    "ceil": ceil,
}


@imports("Resize")
def resize(call: Call, x: Value, *operands: Value | None) -> Value:
    """x with other sizes."""
    if call.opset < 11:
        roi, scales, sizes = None, operands[0] if operands else None, None
    else:
        roi, scales, sizes = (*operands, None, None, None)[:3]
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
    smooth, exclude = bool(call.get("antialias", 0)), bool(call.get("exclude_outside", 0))
    coefficients = _linear(smooth) if mode == "linear" else _cubic(call.get("cubic_coeff_a", -0.75), smooth)
    for axis, plan in plans.items():
        if plan.size == plan.wanted and plan.scale == 1 and (plan.start, plan.end) == (0.0, 1.0):
            continue
        matrix, beyond = _matrix(plan, where, coefficients, exclude=exclude)
        if beyond and outside != 0:
            call.refuse(f"with extrapolation_value {outside}")
        order = [n for n in range(rank) if n != axis] + [axis]
        y = call.add(Linear(), call.transpose(x, *order), call.constant(matrix, x.type.dtype))
        x = call.transpose(y, *(order.index(n) for n in range(rank)))
    return x


@imports("Upsample")
def upsample(call: Call, x: Value, scales: Value | None = None) -> Value:
    """x with larger sizes, as Resize was called before."""
    mode = call.get("mode", "nearest")
    given = call.get("scales", None) if call.opset < 9 else None if scales is None else call.array(scales, "scales")
    if given is None or mode not in ("nearest", "linear", "bilinear"):
        call.refuse(f"with mode {mode!r:.40}")
    plans = _plans(call, x, list(range(x.type.rank)), call.graph.constant(np.asarray(given, np.float32)), None, None)
    if mode == "nearest":
        return _placed(call, x, plans, "asymmetric", "floor")
    for axis, plan in plans.items():
        if plan.scale != 1:
            matrix, _ = _matrix(plan, "asymmetric", _linear(smooth=False), exclude=False)
            order = [n for n in range(x.type.rank) if n != axis] + [axis]
            y = call.add(Linear(), call.transpose(x, *order), call.constant(matrix, x.type.dtype))
            x = call.transpose(y, *(order.index(n) for n in range(x.type.rank)))
    return x


def _ranges(call: Call, roi: Value | None, count: int) -> list[tuple[float, float]]:
    values = call.array(roi, "a region").reshape(-1).tolist()
    if len(values) != 2 * count:
        call.refuse(f"with a region of {len(values)} numbers")
    return list(zip(values[:count], values[count:], strict=True))


def _plans(
    call: Call,
    x: Value,
    axes: list[int],
    scales: Value | None,
    sizes: Value | None,
    ranges: list[tuple[float, float]] | None,
    where: str = "",
) -> dict[int, _Axis]:
    """What becomes of each axis."""
    ranges = ranges or [(0.0, 1.0)] * len(axes)
    given = [] if scales is None or scales.type.elements == 0 else call.array(scales, "scales").tolist()
    policy = call.get("keep_aspect_ratio_policy", "stretch")
    wanted = [] if sizes is None or sizes.type.elements == 0 else call.ints(sizes, "sizes")
    if len(given) not in (0, len(axes)) or len(wanted) not in (0, len(axes)) or bool(given) == bool(wanted):
        call.refuse("without either scales or sizes for all axes")
    old = [x.type.shape[axis] for axis in axes]
    if wanted and policy != "stretch":
        ratios = [new / size for new, size in zip(wanted, old, strict=True) if isinstance(size, int) and size]
        if len(ratios) != len(old) or policy not in ("not_larger", "not_smaller"):
            call.refuse(f"with keep_aspect_ratio_policy {policy!r:.40}")
        given = [min(ratios) if policy == "not_larger" else max(ratios)] * len(axes)
        wanted = [floor(size * ratio + 0.5) for size, ratio in zip(old, given, strict=True) if isinstance(size, int)]
    plans = {}
    for n, axis in enumerate(axes):
        size, (start, end) = old[n], ranges[n]
        if not isinstance(size, int):
            if (given and given[n] != 1) or (wanted and not given):
                call.refuse("along the batch")
            continue
        scale = float(given[n]) if given else wanted[n] / max(size, 1)
        length = (
            wanted[n] if wanted else floor(size * scale * (end - start) if ranges[n] != (0.0, 1.0) else size * scale)
        )
        if where == "align_corners" and given and not float(size * scale).is_integer() and scale != 1:
            call.refuse(f"with align_corners of {size} elements by {scale:.6g}")  # ONNX and its runtime disagree
        if size < 1 or not 1 <= length <= LARGEST_SIZE or size > LARGEST_SIZE or scale <= 0:
            call.refuse(f"of {size} to {length} elements")
        plans[axis] = _Axis(size, length, scale, start, end)
    return plans


def _nearest(call: Call, x: Value, plans: dict[int, _Axis], where: str) -> Value:
    rounding = call.get("nearest_mode", "round_prefer_floor" if call.opset >= 11 else "floor")
    for name in ("extrapolation_value", "antialias", "exclude_outside", "cubic_coeff_a"):
        call.get(name)  # of other modes
    if rounding not in ROUNDINGS:
        call.refuse(f"with nearest_mode {rounding!r:.40}")
    return _placed(call, x, plans, where, rounding)


def _placed(call: Call, x: Value, plans: dict[int, _Axis], where: str, rounding: str) -> Value:
    for axis, plan in plans.items():
        found = [plan.source(where, place) for place in range(plan.wanted)]
        if any(at is None for at in found):
            call.refuse("of a region beyond its input")
        places = [min(max(ROUNDINGS[rounding](at), 0), plan.size - 1) for at in found if at is not None]
        if places != list(range(plan.size)):
            x = taken(call, x, np.array(places, np.int64), axis)
    return x


def _linear(smooth: bool) -> Coefficients:
    def plain(ratio: float, scale: float) -> Array:
        return np.array([1 - ratio, ratio])

    def wide(ratio: float, scale: float) -> Array:
        scale = min(scale, 1.0)
        first = floor(-1 / scale) + 1
        weights = np.clip(1 - np.abs((np.arange(first, 2 - first) - ratio) * scale), 0, 1)
        return np.asarray(weights / weights.sum())

    return wide if smooth else plain


def _cubic(a: float, smooth: bool) -> Coefficients:
    def weight(x: Any) -> Any:
        x = np.abs(x)
        near = (a + 2) * x**3 - (a + 3) * x**2 + 1
        far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
        return np.where(x <= 1, near, np.where(x < 2, far, 0))

    def plain(ratio: float, scale: float) -> Array:
        return np.asarray(weight(np.arange(-1, 3) - ratio))

    def wide(ratio: float, scale: float) -> Array:
        scale = min(scale, 1.0)
        first = floor(-2 / scale) + 1
        weights = weight(scale * (np.arange(first, 2 - first) - ratio))
        return np.asarray(weights / weights.sum())

    return wide if smooth else plain


def _matrix(plan: _Axis, where: str, coefficients: Coefficients, *, exclude: bool) -> tuple[Array, bool]:
    """How much each element of the source counts for each of the result, and whether some lie outside of it."""
    matrix, beyond = np.zeros((plan.wanted, plan.size)), False
    for place in range(plan.wanted):
        at = plan.source(where, place)
        if at is None:
            beyond = True
            continue
        ratio = 1.0 if float(at).is_integer() else at - floor(at)
        weights = coefficients(ratio, plan.scale)
        first = (ceil(at) if ratio == 1 else floor(at) + 1) - len(weights) // 2
        spots = first + np.arange(len(weights))
        if exclude:
            weights = np.where((spots >= 0) & (spots < plan.size), weights, 0)
            weights = weights / weights.sum()
        np.add.at(matrix[place], np.clip(spots, 0, plan.size - 1), weights)
    return matrix, beyond
