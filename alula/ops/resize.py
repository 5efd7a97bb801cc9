"""The tables by which one axis is resized: where each element of the result comes from, and with what shares.

These ops take nothing: their results depend on sizes alone, so they are constants as soon as the sizes are known, and
only a graph of open sizes holds them.  `Gather` and `Interpolate` use what they give.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import ceil, floor
from typing import Any, ClassVar

import numpy as np

from alula.core.dims import Dim
from alula.core.dtype import Array, DType
from alula.core.errors import ShapeError
from alula.ir.op import Op, register
from alula.ir.types import TensorType, fixed

LARGEST_SIZE = 1 << 14
TERMS = {"linear": 2, "cubic": 4}
METHODS = ("nearest", *TERMS)
WHERES = (
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


@dataclass(frozen=True, slots=True)
class Resized(Op):
    """An axis of `size` elements that becomes one of `wanted`, by `scale`, or where that is 0 by the ratio of the two.

    `where` says which place in the source an element of the result stands for; `start` and `end` are the part that is
    looked at (tf_crop_and_resize).  `nearest` takes the element there, by `rounding`; `linear` two around it and
    `cubic`, of slope `slope`, four, or with `smooth` all that a smaller result's element covers; `exclude` leaves out
    what lies beyond the ends, which otherwise counts as the element there.
    Raises ShapeError for other words, sizes that are not 1..16384, and smooth tables of sizes that are not fixed.
    Source: ONNX Resize-19.
    """

    size: Dim
    wanted: Dim
    where: str
    method: str
    scale: float = 0.0
    start: float = 0.0
    end: float = 1.0
    rounding: str = "floor"
    slope: float = -0.75
    smooth: bool = False
    exclude: bool = False

    def check(self) -> None:
        """See the class."""
        words = ((self.where, WHERES), (self.method, METHODS), (self.rounding, tuple(ROUNDINGS)))
        for word, known in words:
            if word not in known:
                raise ShapeError(f"expected one of {', '.join(known)}, got {word!r:.40}")
        if self.smooth and not (isinstance(self.size, int) and isinstance(self.wanted, int)):
            raise ShapeError(f"expected fixed sizes for a smooth table, got {self.size} and {self.wanted}")
        for size in (self.size, self.wanted):
            if isinstance(size, int) and not 1 <= size <= LARGEST_SIZE:
                raise ShapeError(f"expected sizes of 1..{LARGEST_SIZE}, got {size}")
        if not 0 <= self.scale < LARGEST_SIZE:
            raise ShapeError(f"expected a scale of 0..{LARGEST_SIZE}, got {self.scale}")

    @property
    def terms(self) -> int:
        """How many elements each one of the result is made of."""
        return 2 - 2 * self._first if self.smooth else TERMS[self.method]

    @property
    def _first(self) -> int:
        """The first element that a smooth table looks at, counted from the one before the place."""
        return floor(-(TERMS[self.method] // 2) / min(self.ratio, 1.0)) + 1

    @property
    def ratio(self) -> float:
        """Elements of the result for one of the source."""
        return self.scale or fixed(self.wanted, "size") / fixed(self.size, "size")

    def source(self, place: int) -> float | None:
        """Where in the source an element lies; None outside of it."""
        size, wanted, scale = fixed(self.size, "size"), fixed(self.wanted, "size"), self.ratio
        last = size - 1
        match self.where:
            case "half_pixel":
                return (place + 0.5) / scale - 0.5
            case "half_pixel_symmetric":
                return size / 2 * (1 - wanted / (scale * size)) + (place + 0.5) / scale - 0.5
            case "pytorch_half_pixel":
                return (place + 0.5) / scale - 0.5 if wanted > 1 else 0.0
            case "align_corners":
                return place * last / (wanted - 1) if wanted > 1 else 0.0
            case "asymmetric":
                return place / scale
        if wanted > 1:  # tf_crop_and_resize
            at = self.start * last + place * (self.end - self.start) * last / (wanted - 1)
        else:
            at = 0.5 * (self.start + self.end) * last
        return at if 0 <= at <= last else None

    def table(self) -> tuple[Array, Array]:
        """Indices and shares [wanted, terms]."""
        spots, shares, size = [], [], fixed(self.size, "size")
        for place in range(fixed(self.wanted, "size")):
            at = self.source(place) or 0.0
            whole = float(at).is_integer()
            weights = self._weights(1.0 if whole else at - floor(at))
            near = (ceil(at) if whole else floor(at) + 1) - len(weights) // 2 + np.arange(len(weights))
            if self.exclude:
                weights = np.where((near >= 0) & (near < size), weights, 0)
                weights = weights / weights.sum()
            spots.append(np.clip(near, 0, size - 1))
            shares.append(weights)
        return np.array(spots, np.int64), np.array(shares)

    def _weights(self, part: float) -> Array:
        """Of the elements around a place so far on from one to the next; of `smooth` ones, all that it covers."""
        if not self.smooth:
            if self.method == "linear":
                return np.array([1 - part, part])
            return np.asarray(_cubic(np.arange(-1, 3) - part, self.slope))
        away = (np.arange(self._first, 2 - self._first) - part) * min(self.ratio, 1.0)
        weights = np.clip(1 - np.abs(away), 0, 1) if self.method == "linear" else _cubic(away, self.slope)
        return np.asarray(weights / weights.sum())


def _cubic(x: Any, a: float) -> Any:
    """The kernel of slope `a`.  Source: Keys, "Cubic Convolution Interpolation for Digital Image Processing", 1981."""
    x = np.abs(x)
    near = (a + 2) * x**3 - (a + 3) * x**2 + 1
    far = a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a
    return np.where(x <= 1, near, np.where(x < 2, far, 0))


@register
@dataclass(frozen=True, slots=True)
class ResizePlaces(Resized):
    """Which elements of the source each of the result is made of: i64[wanted] for nearest, else i64[wanted,terms]."""

    name: ClassVar[str] = "resize_places"

    def infer(self) -> TensorType:
        self.check()
        return TensorType(DType.I64, (self.wanted,) if self.method == "nearest" else (self.wanted, self.terms))

    def reference(self) -> Array:
        if self.method != "nearest":
            return self.table()[0]
        found = [self.source(place) or 0.0 for place in range(fixed(self.wanted, "size"))]
        last = fixed(self.size, "size") - 1
        return np.array([min(max(ROUNDINGS[self.rounding](at), 0), last) for at in found], np.int64)

    def shares(self) -> ResizeShares:
        """The other half of the table."""
        return ResizeShares(*(getattr(self, field.name) for field in fields(self)))


@register
@dataclass(frozen=True, slots=True)
class ResizeShares(Resized):
    """How much each of those elements counts: f32[wanted,terms].  Raises ShapeError for nearest, where one counts."""

    name: ClassVar[str] = "resize_shares"

    def infer(self) -> TensorType:
        self.check()
        if self.method == "nearest":
            raise ShapeError(f"expected one of {', '.join(TERMS)}, got 'nearest'")
        return TensorType(DType.F32, (self.wanted, self.terms))

    def reference(self) -> Array:
        return self.table()[1].astype(np.float32)
