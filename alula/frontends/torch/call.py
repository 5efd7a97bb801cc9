"""What importers of operators see: the registry they are in, and the call that one of them brings into the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import numpy as np

from alula.core.dims import Dim
from alula.core.dtype import Array, DType, cast_array
from alula.core.errors import GraphError
from alula.ir.graph import Graph, Value
from alula.ir.op import Op
from alula.ir.types import TensorType
from alula.ops.elementwise import Cast
from alula.ops.shape import Reshape, Transpose

Number = bool | int | float
Operand = Value | Number
Result = Value | Sequence[Value | None]
Importer = Callable[..., Result]

IMPORTS: dict[str, Importer] = {}

F = TypeVar("F", bound=Importer)


def imports(*names: str) -> Callable[[F], F]:
    """Make a function the importer of the operators of these names, `aten.conv2d.default`.

    It is called as importer(call, *arguments, **keywords) with tensors as Values, sizes as dimensions, and gives a
    Value, or several in PyTorch's order: None stands for one that we cannot give.  It must name every argument that
    changes the result.  Raises GraphError for a name that has an importer.
    """

    def register(function: F) -> F:
        for name in names:
            if name in IMPORTS:
                raise GraphError(f"importer of {name}: expected one, got a second")
            IMPORTS[name] = function
        return function

    return register


class Refused(Exception):
    """An operator in a form that we do not know; the text says which form, `with dilation 2`."""


@dataclass(slots=True)
class Call:
    """One operator call: the graph it goes to and `types`, what PyTorch says that its results are."""

    graph: Graph
    types: tuple[TensorType, ...]
    views: dict[tuple[Value, object], Value] = field(default_factory=dict)

    @property
    def type(self) -> TensorType:
        """The type of its first result."""
        return self.types[0]

    def refuse(self, form: str) -> NoReturn:
        """Say that the operator cannot be imported in this form."""
        raise Refused(form)

    def add(self, op: Op, *inputs: Value) -> Value:
        """The output of a new node."""
        return self.graph.add(op, *inputs)

    def constant(self, data: Any, dtype: DType) -> Value:
        """A constant of `data`, a number or nested numbers."""
        return self.graph.constant(cast_array(np.asarray(data), dtype))

    def operand(self, value: Operand, dtype: DType) -> Value:
        """A tensor cast to `dtype`, or a number as a constant of rank 0, as PyTorch promotes them."""
        if isinstance(value, Value):
            return self.cast(value, dtype)
        if not isinstance(value, Number):
            self.refuse(f"with the size {value} as a number")
        return self.constant(value, dtype)

    def cast(self, value: Value, dtype: DType) -> Value:
        """`value` with another element type; of a constant without a node."""
        if value.type.dtype is dtype:
            return value
        if value.data is not None:
            return self._view(value, dtype, cast_array(value.data, dtype))
        return self.add(Cast(dtype=dtype), value)

    def transpose(self, value: Value, *perm: int) -> Value:
        """`value` with its axes in another order; of a constant a view, without a node."""
        if perm == tuple(range(value.type.rank)):
            return value
        if value.data is not None:
            return self._view(value, perm, value.data.transpose(perm))
        return self.add(Transpose(perm=perm), value)

    def reshape(self, value: Value, *shape: Dim) -> Value:
        """`value` in another shape; of a constant without a node."""
        if value.type.shape == shape:
            return value
        sizes = tuple(dim for dim in shape if isinstance(dim, int))
        if value.data is not None and len(sizes) == len(shape):
            return self._view(value, ("reshape", sizes), value.data.reshape(sizes))
        return self.add(Reshape(shape=shape), value)

    def _view(self, value: Value, key: object, data: Array) -> Value:
        """One Value for each way to look at a constant, so that shared weights stay shared."""
        return self.views.setdefault((value, key), self.graph.constant(data, value.name))


def axis_of(axis: int, rank: int) -> int:
    """`axis` counted from the front; the only axis PyTorch allows for rank 0 is 0 or -1."""
    return axis % max(rank, 1)


def axes_of(axes: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """`axes` counted from the front and sorted; all of them for None or none."""
    chosen = [axes] if isinstance(axes, int) else list(axes or range(rank))
    return tuple(sorted({axis_of(axis, rank) for axis in chosen})) if rank else ()


def pair(sizes: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of an argument that PyTorch takes as one number or two."""
    first, *rest = [sizes] if isinstance(sizes, int) else sizes
    return first, rest[0] if rest else first


def channels_last(call: Call, x: Value) -> Value:
    """y[n,...,c] of x[n,c,...]."""
    return call.transpose(x, 0, *range(2, x.type.rank), 1)


def channels_first(call: Call, x: Value) -> Value:
    """y[n,c,...] of x[n,...,c]."""
    return call.transpose(x, 0, x.type.rank - 1, *range(1, x.type.rank - 1))


def image(call: Call, x: Value) -> Value:
    """x[n,c,h,w] as y[n,h,w,c]; refused unless it has a batch."""
    if x.type.rank != 4:
        call.refuse(f"of an input {x.type} without a batch")
    return channels_last(call, x)
