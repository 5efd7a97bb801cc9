"""Reductions over axes; floats accumulate in float64 and are rounded once."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, ClassVar

import numpy as np

from alula.core.dtype import Array, DType
from alula.core.errors import ShapeError
from alula.ir.op import Op, register
from alula.ir.types import TensorType
from alula.ops.checks import FLOATS, NUMBERS, check_axis, check_dtype


@dataclass(frozen=True, slots=True)
class Reduction(Op):
    """One element from all along `axes` (ascending, from the front; none: every element by itself).

    With keepdims the reduced axes stay, of size 1.
    """

    allowed: ClassVar[frozenset[DType]] = NUMBERS
    axes: tuple[int, ...]
    keepdims: bool = False

    def infer(self, x: TensorType) -> TensorType:
        check_dtype(x, self.allowed)
        for axis in self.axes:
            check_axis(x, axis)
        if list(self.axes) != sorted(set(self.axes)):
            raise ShapeError(f"expected ascending axes, got {self.axes}")
        kept = [1 if axis in self.axes else dim for axis, dim in enumerate(x.shape)]
        return x.reshaped(*(dim for axis, dim in enumerate(kept) if self.keepdims or axis not in self.axes))

    def reference(self, x: Array) -> Array:
        wide = x.astype(np.float64) if x.dtype.kind == "f" else x
        with np.errstate(all="ignore"):
            return np.asarray(self.reduced(wide)).astype(x.dtype)

    def reduced(self, x: Array) -> Array:
        """The mathematics, on float64 or integers."""
        raise TypeError(f"{self.name} has no mathematics")


@register
@dataclass(frozen=True, slots=True)
class ReduceSum(Reduction):
    """Sum; 0 for none; integers wrap."""

    name: ClassVar[str] = "reduce_sum"

    def reduced(self, x: Array) -> Array:
        return np.asarray(x.sum(self.axes, x.dtype, keepdims=self.keepdims))


@register
@dataclass(frozen=True, slots=True)
class ReduceMean(Reduction):
    """Arithmetic mean, for floats; NaN for none."""

    name: ClassVar[str] = "reduce_mean"
    allowed: ClassVar[frozenset[DType]] = FLOATS

    def reduced(self, x: Array) -> Array:
        return np.asarray(
            np.divide(x.sum(self.axes, keepdims=self.keepdims), prod(x.shape[axis] for axis in self.axes))
        )


@register
@dataclass(frozen=True, slots=True)
class ReduceMax(Reduction):
    """Greatest; NaN if there is one; the least value of the dtype for none.  Source: ONNX ReduceMax-20."""

    name: ClassVar[str] = "reduce_max"

    def reduced(self, x: Array) -> Array:
        return np.asarray(x.max(self.axes, keepdims=self.keepdims, initial=lowest(x.dtype)))


@register
@dataclass(frozen=True, slots=True)
class ReduceMin(Reduction):
    """Smallest; NaN if there is one; the greatest value of the dtype for none.  Source: ONNX ReduceMin-20."""

    name: ClassVar[str] = "reduce_min"

    def reduced(self, x: Array) -> Array:
        return np.asarray(x.min(self.axes, keepdims=self.keepdims, initial=highest(x.dtype)))


def lowest(dtype: np.dtype[Any]) -> Any:
    """What every other value of the dtype beats: -inf, or the least integer."""
    return -np.inf if dtype.kind == "f" else np.iinfo(dtype).min


def highest(dtype: np.dtype[Any]) -> Any:
    """What no other value of the dtype beats: inf, or the greatest integer."""
    return np.inf if dtype.kind == "f" else np.iinfo(dtype).max
