"""Resizing by tables: nearest by places, linear and cubic by places and weights for each axis, known beforehand."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

import numpy as np

from alula.core.dtype import Array, DType
from alula.frontends.call import GraphCall, channels_first, channels_last
from alula.frontends.moves import taken
from alula.ir.graph import Value
from alula.ops.gather import Interpolate

Coefficients = Callable[[float, float], Array]  # of the way between two elements, and the ratio of sizes
Table = tuple[Array, Array]  # indices and weights [result, term]


@dataclass(frozen=True)
class Axis:
    """One axis: how many elements there are and shall be, their ratio, and the part that is looked at."""

    size: int
    wanted: int
    scale: float
    start: float = 0.0
    end: float = 1.0

    @property
    def is_whole(self) -> bool:
        """True where the axis stays what it is."""
        return self.size == self.wanted and self.scale == 1 and (self.start, self.end) == (0.0, 1.0)

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


ROUNDINGS: dict[str, Callable[[float], int]] = {
    "round_prefer_floor": lambda x: ceil(x - 0.5),
    "round_prefer_ceil": lambda x: floor(x + 0.5),
    "floor": floor,
    "ceil": ceil,
}


def interpolated(call: GraphCall, x: Value, tables: Mapping[int, Table]) -> Value:
    """x along each axis by its table; of a picture with the channels last, so that vectors run along them."""
    turned = bool(tables) and x.type.rank > 2 and min(tables) > 1
    y = channels_last(call, x) if turned else x
    for axis, (indices, weights) in tables.items():
        op = Interpolate(axis=axis - 1 if turned else axis)
        y = call.add(op, y, call.constant(indices, DType.I64), call.constant(weights, x.type.dtype))
    return channels_first(call, y) if turned else y


def placed(call: GraphCall, x: Value, plans: dict[int, Axis], where: str, rounding: str) -> Value:
    """x along each axis by the nearest elements, of a picture with the channels last."""
    moved = {}
    for axis, plan in plans.items():
        found = [plan.source(where, place) or 0.0 for place in range(plan.wanted)]
        places = [min(max(ROUNDINGS[rounding](at), 0), plan.size - 1) for at in found]
        if places != list(range(plan.size)):
            moved[axis] = np.array(places, np.int64)
    turned = bool(moved) and x.type.rank > 2 and min(moved) > 1
    y = channels_last(call, x) if turned else x
    for axis, indices in moved.items():
        y = taken(call, y, indices, axis - 1 if turned else axis)
    return channels_first(call, y) if turned else y


def linear(smooth: bool) -> Coefficients:
    """The two elements around a place; `smooth`, all that a smaller picture's element covers."""

    def plain(ratio: float, scale: float) -> Array:
        return np.array([1 - ratio, ratio])

    def wide(ratio: float, scale: float) -> Array:
        scale = min(scale, 1.0)
        first = floor(-1 / scale) + 1
        weights = np.clip(1 - np.abs((np.arange(first, 2 - first) - ratio) * scale), 0, 1)
        return np.asarray(weights / weights.sum())

    return wide if smooth else plain


def cubic(a: float, smooth: bool) -> Coefficients:
    """The four elements around a place, by the kernel of slope `a`; `smooth`, all that a smaller one's covers."""

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


def table(plan: Axis, where: str, coefficients: Coefficients, *, exclude: bool) -> Table:
    """What elements of the source each of the result is made of, and how much each counts."""
    spots, shares = [], []
    for place in range(plan.wanted):
        at = plan.source(where, place) or 0.0
        weights = coefficients(1.0 if float(at).is_integer() else at - floor(at), plan.scale)
        first = (ceil(at) if float(at).is_integer() else floor(at) + 1) - len(weights) // 2
        near = first + np.arange(len(weights))
        if exclude:
            weights = np.where((near >= 0) & (near < plan.size), weights, 0)
            weights = weights / weights.sum()
        spots.append(np.clip(near, 0, plan.size - 1))
        shares.append(weights)
    return np.array(spots), np.array(shares)
