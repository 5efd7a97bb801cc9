"""Elements at places that are given by numbers: taken, blended, or written.

In all of them `indices` are i32 or i64.  One below 0 counts from the end.  With `batch` leading axes that the operands
have in common, each of their places has indices of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dims import Dim
from alula.core.dtype import Array, DType
from alula.core.errors import ShapeError
from alula.ir.op import Op, register
from alula.ir.types import TensorType
from alula.ops.checks import FLOATS, NUMBERS, check_axis, check_dtype, check_same_dtype, check_shape

REDUCTIONS = ("none", "add", "mul", "max", "min")


@dataclass(frozen=True, slots=True)
class Placed(Op):
    """Axis `axis` of x gives way to the axes of the indices after the first `batch`; batch <= axis.

    Raises ShapeError for an axis without elements, and for indices that do not start as x does.
    """

    axis: int
    batch: int = 0

    def named(self, x: TensorType, indices: TensorType, counts: tuple[Dim, ...]) -> TensorType:
        """The type of x at the places that `counts` of the indices' axes name."""
        check_axis(x, self.axis)
        check_dtype(indices, (DType.I32, DType.I64))
        if not 0 <= self.batch <= self.axis:
            raise ShapeError(f"expected a batch of 0..{self.axis} axes, got {self.batch}")
        if indices.rank < self.batch or indices.shape[: self.batch] != x.shape[: self.batch]:
            raise ShapeError(f"expected indices that start with the {self.batch} first axes of {x}, got {indices}")
        if x.shape[self.axis] == 0:
            raise ShapeError(f"expected an axis with elements, got {x}")
        return x.reshaped(*x.shape[: self.axis], *counts, *x.shape[self.axis + 1 :])

    def spread(self, x: Array, indices: Array) -> tuple[Array, Array]:
        """x[b,outer,size,rest] and indices[b,count]: the axes in four groups and in two, the indices from the front."""
        flat = (-1, int(np.prod(x.shape[self.batch : self.axis])), x.shape[self.axis])
        rows = x.reshape(int(np.prod(x.shape[: self.batch])), *flat[1:], int(np.prod(x.shape[self.axis + 1 :])))
        wide = indices.astype(np.int64).reshape(rows.shape[0], int(np.prod(indices.shape[self.batch :])))
        return rows, np.where(wide < 0, wide + rows.shape[2], wide)


@register
@dataclass(frozen=True, slots=True)
class Gather(Placed):
    """x at `indices` along one axis.  x any dtype.

    An index that is outside the axis means the nearest element that is there.
    Source: ONNX Gather-13, which leaves such indices undefined.
    """

    name: ClassVar[str] = "gather"

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        return self.named(x, indices, indices.shape[self.batch :])

    def reference(self, x: Array, indices: Array) -> Array:
        rows, places = self.spread(x, indices)
        inside = np.clip(places, 0, rows.shape[2] - 1)
        taken = np.take_along_axis(rows, inside[:, None, :, None], 2)
        return taken.reshape((*x.shape[: self.axis], *indices.shape[self.batch :], *x.shape[self.axis + 1 :]))


@register
@dataclass(frozen=True, slots=True)
class Interpolate(Placed):
    """Weighted sums of elements of one axis: sum over t of weights[..., t] * (x at indices[..., t]), from t = 0 on.

    x floats, weights of its dtype and of the indices' shape; an index outside the axis means the nearest element.
    Computed in float64 and rounded.  Raises ShapeError where the number of terms t is not fixed.
    """

    name: ClassVar[str] = "interpolate"

    def infer(self, x: TensorType, indices: TensorType, weights: TensorType) -> TensorType:
        check_dtype(x, FLOATS)
        check_same_dtype(x, weights)
        check_shape("weights", weights, *indices.shape)
        if indices.rank <= self.batch or not isinstance(indices.shape[-1], int):
            raise ShapeError(f"expected indices with a fixed number of terms, got {indices}")
        return self.named(x, indices, indices.shape[self.batch : -1])

    def reference(self, x: Array, indices: Array, weights: Array) -> Array:
        rows, places = self.spread(x, indices)
        inside = np.clip(places, 0, rows.shape[2] - 1)
        taken = np.take_along_axis(rows.astype(np.float64), inside[:, None, :, None], 2)
        with np.errstate(all="ignore"):
            terms = taken * weights.astype(np.float64).reshape(inside.shape)[:, None, :, None]
        shape = (*x.shape[: self.axis], *indices.shape[self.batch : -1], *x.shape[self.axis + 1 :])
        counted = terms.reshape(*terms.shape[:2], -1, indices.shape[-1], terms.shape[3]) if terms.size else terms
        summed = counted.sum(3) if terms.size else np.zeros(shape)
        return np.asarray(summed.reshape(shape), x.dtype)


@register
@dataclass(frozen=True, slots=True)
class Scatter(Placed):
    """x, in which what `indices` of one axis name is combined with the updates, in their order.

    updates: the type that Gather gives; reduction: none (the update takes the place), add, mul, max or min, those for
    numbers.  An index outside the axis writes nothing.  Source: ONNX ScatterElements-18 and ScatterND-18.
    """

    name: ClassVar[str] = "scatter"
    reduction: str = "none"

    def infer(self, x: TensorType, indices: TensorType, updates: TensorType) -> TensorType:
        if self.reduction not in REDUCTIONS:
            raise ShapeError(f"expected a reduction of {', '.join(REDUCTIONS)}, got {self.reduction[:40]!r}")
        if self.reduction != "none":
            check_dtype(x, NUMBERS)
        wanted = self.named(x, indices, indices.shape[self.batch :])
        check_same_dtype(x, updates)
        check_shape("updates", updates, *wanted.shape)
        return x

    def reference(self, x: Array, indices: Array, updates: Array) -> Array:
        rows, places = self.spread(x, indices)
        y, count = rows.copy(), places.shape[1]
        new = updates.reshape(*rows.shape[:2], count, rows.shape[3])
        combine = {"add": np.add, "mul": np.multiply, "max": np.maximum, "min": np.minimum}
        for b, number in np.ndindex(rows.shape[0], count):
            if 0 <= (place := places[b, number]) < rows.shape[2]:
                old, update = y[b, :, place], new[b, :, number]
                with np.errstate(all="ignore"):
                    y[b, :, place] = update if self.reduction == "none" else combine[self.reduction](old, update)
        return y.reshape(x.shape)
