"""Ops that move elements and compute nothing; any dtype."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dims import Dim
from alula.core.dtype import Array, DType
from alula.core.errors import ShapeError
from alula.ir.op import Op, register
from alula.ir.types import TensorType, fixed
from alula.ops.checks import broadcast, check_at_least, check_axis, check_same_dtype


@register
@dataclass(frozen=True, slots=True)
class Reshape(Op):
    """The same elements in row-major order with another shape; the numbers of elements must be equal."""

    name: ClassVar[str] = "reshape"
    shape: tuple[Dim, ...]

    def infer(self, x: TensorType) -> TensorType:
        y = x.reshaped(*self.shape)
        if y.elements != x.elements:
            raise ShapeError(f"expected a shape of {x.elements} elements for {x}, got {y}")
        return y

    def reference(self, x: Array) -> Array:
        return x.reshape([fixed(dim, "shape") for dim in self.shape])


@register
@dataclass(frozen=True, slots=True)
class Transpose(Op):
    """Axis i of the result is axis perm[i] of x."""

    name: ClassVar[str] = "transpose"
    perm: tuple[int, ...]

    def infer(self, x: TensorType) -> TensorType:
        if sorted(self.perm) != list(range(x.rank)):
            raise ShapeError(f"expected a permutation of the {x.rank} axes of {x}, got {self.perm}")
        return x.reshaped(*(x.shape[axis] for axis in self.perm))

    def reference(self, x: Array) -> Array:
        return x.transpose(self.perm)


@register
@dataclass(frozen=True, slots=True)
class Slice(Op):
    """Elements start, start+step, ... before stop of one axis: ceil((stop - start) / step) of them.

    Raises ShapeError unless 0 <= start <= stop <= the axis is certain and step >= 1.
    """

    name: ClassVar[str] = "slice"
    axis: int
    start: Dim
    stop: Dim
    step: int = 1

    def infer(self, x: TensorType) -> TensorType:
        check_axis(x, self.axis)
        check_at_least("step", self.step, 1)
        check_at_least("start", self.start, 0)
        check_at_least("stop", self.stop, self.start)
        check_at_least(f"axis {self.axis}", x.shape[self.axis], self.stop)
        size = (self.stop - self.start + self.step - 1) // self.step
        return x.reshaped(*x.shape[: self.axis], size, *x.shape[self.axis + 1 :])

    def reference(self, x: Array) -> Array:
        return x[(slice(None),) * self.axis + (slice(self.start, self.stop, self.step),)]


@register
@dataclass(frozen=True, slots=True)
class Concat(Op):
    """All operands one after the other along `axis`; their other dimensions are equal."""

    name: ClassVar[str] = "concat"
    axis: int

    def infer(self, first: TensorType, *others: TensorType) -> TensorType:
        check_axis(first, self.axis)
        check_same_dtype(first, *others)
        total, around = first.shape[self.axis], self._around(first)
        for x in others:
            if x.rank != first.rank or self._around(x) != around:
                raise ShapeError(f"expected the shape of {first} except for axis {self.axis}, got {x}")
            total += x.shape[self.axis]
        return first.reshaped(*around[0], total, *around[1])

    def _around(self, x: TensorType) -> tuple[tuple[Dim, ...], tuple[Dim, ...]]:
        return x.shape[: self.axis], x.shape[self.axis + 1 :]

    def reference(self, *arrays: Array) -> Array:
        return np.concatenate(arrays, self.axis)


@register
@dataclass(frozen=True, slots=True)
class Expand(Op):
    """x repeated along new leading axes and along axes of size 1, to exactly `shape`."""

    name: ClassVar[str] = "expand"
    shape: tuple[Dim, ...]

    def infer(self, x: TensorType) -> TensorType:
        y = x.reshaped(*self.shape)
        if broadcast(x.shape, self.shape) != self.shape:
            raise ShapeError(f"expected a shape that {x} broadcasts to, got {y}")
        return y

    def reference(self, x: Array) -> Array:
        return np.broadcast_to(x, [fixed(dim, "shape") for dim in self.shape]).copy()


@register
@dataclass(frozen=True, slots=True)
class Pad(Op):
    """x with before[i] and after[i] elements of `value` around axis i.

    Raises ShapeError for negative counts, and for a value that an integer or boolean x cannot hold.
    """

    name: ClassVar[str] = "pad"
    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float = 0.0

    def infer(self, x: TensorType) -> TensorType:
        if len(self.before) != x.rank or len(self.after) != x.rank:
            raise ShapeError(f"expected {x.rank} counts before and after for {x}, got {self.before} and {self.after}")
        for count in self.before + self.after:
            check_at_least("a count", count, 0)
        if not x.dtype.is_float and not self._is_held_by(x.dtype):
            raise ShapeError(f"expected a value that {x.dtype} holds, got {self.value}")
        return x.reshaped(*(b + dim + a for b, dim, a in zip(self.before, x.shape, self.after, strict=True)))

    def _is_held_by(self, dtype: DType) -> bool:
        limits = (0, 1) if dtype is DType.BOOL else (np.iinfo(dtype.numpy).min, np.iinfo(dtype.numpy).max)
        return self.value.is_integer() and limits[0] <= self.value <= limits[1]

    def reference(self, x: Array) -> Array:
        sides = list(zip(self.before, x.shape, self.after, strict=True))
        with np.errstate(over="ignore"):
            y = np.full([b + size + a for b, size, a in sides], np.array(self.value).astype(x.dtype))
        y[tuple(slice(b, b + size) for b, size, _ in sides)] = x
        return y
