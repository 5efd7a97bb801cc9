"""Where a value lies: a buffer, and the strides by which a view of it is read or written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

from alula.core.dims import Dim, common_factors, product
from alula.core.dtype import DType
from alula.ir.types import TensorType


class Space(Enum):
    """Whose memory a buffer is."""

    INPUT = "input"
    OUTPUT = "output"
    CONSTANT = "constant"
    ARENA = "arena"


@dataclass(frozen=True, slots=True)
class Buffer:
    """Contiguous bytes: the `index`-th of its space."""

    space: Space
    index: int
    bytes: Dim


@dataclass(frozen=True, slots=True)
class View:
    """Elements of a buffer; offset and strides count elements, one stride a dimension (0 repeats)."""

    buffer: Buffer
    type: TensorType
    strides: tuple[Dim, ...]
    offset: Dim = 0

    @classmethod
    def whole(cls, buffer: Buffer, type: TensorType) -> View:
        """All of a buffer in row-major order."""
        return cls(buffer, type, row_major(type.shape))

    @property
    def dtype(self) -> DType:
        """Of its elements."""
        return self.type.dtype

    @property
    def is_contiguous(self) -> bool:
        """True where its elements follow each other in row-major order."""
        shape, strides = collapse(self.type.shape, self.strides)
        return len(shape) == 0 or (len(shape) == 1 and strides[0] == (1,))

    @property
    def has_columns(self) -> bool:
        """True where it has a last axis and its elements follow each other."""
        return self.type.rank > 0 and (self.strides[-1] == 1 or self.type.shape[-1] == 1)

    @classmethod
    def spaced(cls, buffer: Buffer, type: TensorType, spacing: int) -> View:
        """All of a buffer, in rows of the last axis that start so many elements apart."""
        return cls(buffer, type, _spaced_strides(type.shape, spacing))

    def reshaped(self, shape: tuple[Dim, ...]) -> View | None:
        """The same elements under another shape; None where strides cannot say it."""
        if self.is_contiguous:
            return View(self.buffer, self.type.reshaped(*shape), row_major(shape), self.offset)
        if shape and shape[-1] == self.type.shape[-1] and (rows := self.rows()):
            return View(self.buffer, self.type.reshaped(*shape), _spaced_strides(shape, rows[1]), self.offset)
        return None

    def permuted(self, perm: Sequence[int]) -> View:
        """Dimensions in another order."""
        shape = tuple(self.type.shape[axis] for axis in perm)
        return replace(self, type=self.type.reshaped(*shape), strides=tuple(self.strides[axis] for axis in perm))

    def sliced(self, axis: int, start: Dim, type: TensorType, step: int = 1) -> View:
        """Every `step`-th element of an axis from `start`; `type` is what is left."""
        strides = tuple(stride * step if n == axis else stride for n, stride in enumerate(self.strides))
        return replace(self, type=type, strides=strides, offset=self.offset + self.strides[axis] * start)

    def broadcast(self, shape: tuple[Dim, ...]) -> View:
        """Repeated to a larger shape, as NumPy broadcasts."""
        missing = len(shape) - self.type.rank
        pairs = zip(shape[missing:], self.type.shape, self.strides, strict=True)
        strides = tuple(stride if size == own else 0 for size, own, stride in pairs)
        return replace(self, type=self.type.reshaped(*shape), strides=(0,) * missing + strides)

    def rows(self) -> tuple[Dim, int] | None:
        """(rows, elements from row to row) where the last axis is contiguous and the others are evenly spaced."""
        if not self.type.shape or self.strides[-1] != 1:
            return None
        shape, strides = collapse(self.type.shape[:-1], self.strides[:-1])
        if not shape:
            return 1, _int(self.type.shape[-1])
        spacing = strides[0][0]
        return (shape[0], spacing) if len(shape) == 1 and isinstance(spacing, int) else None


def row_major(shape: Sequence[Dim]) -> tuple[Dim, ...]:
    """Strides of contiguous elements."""
    return tuple(product(shape[axis + 1 :]) for axis in range(len(shape)))


def _spaced_strides(shape: Sequence[Dim], spacing: int) -> tuple[Dim, ...]:
    return (*(stride * spacing for stride in row_major(shape[:-1])), 1)


def bits_of(dtype: DType) -> DType:
    """The unsigned integer of the same width: as what elements are moved when nothing is computed with them."""
    return {1: DType.U8, 2: DType.U16, 4: DType.U32, 8: DType.U64}[dtype.bytes]


def collapse(shape: Sequence[Dim], *strides: Sequence[Dim]) -> tuple[tuple[Dim, ...], list[tuple[Dim, ...]]]:
    """(shape, per dimension the strides of each operand) with neighbours merged wherever all operands allow it."""
    sizes: list[Dim] = []
    steps: list[tuple[Dim, ...]] = []
    for axis, size in enumerate(shape):
        step = tuple(operand[axis] for operand in strides)
        if size == 1:
            continue
        if sizes and all(outer == inner * size for outer, inner in zip(steps[-1], step, strict=True)):
            sizes[-1], steps[-1] = sizes[-1] * size, step
        else:
            sizes.append(size)
            steps.append(step)
    return tuple(sizes), steps


def aligned(one: View, other: View) -> tuple[View, View] | None:
    """Two views of as many elements under the coarsest shape that both can have; None where there is none."""
    pieces = common_factors(one.type.shape, other.type.shape)
    if pieces is None:
        return None
    return _split(one, [(i, size) for i, _, size in pieces]), _split(other, [(j, size) for _, j, size in pieces])


def _split(view: View, pieces: Sequence[tuple[int, Dim]]) -> View:
    """The view with each axis in the pieces named by it, outer ones first."""
    strides: list[Dim] = []
    for place, (axis, _) in enumerate(pieces):
        inside = product(size for other, size in pieces[place + 1 :] if other == axis)
        strides.append(view.strides[axis] * inside)
    return replace(view, type=view.type.reshaped(*(size for _, size in pieces)), strides=tuple(strides))


def _int(dim: Dim) -> int:
    return dim if isinstance(dim, int) else 0
