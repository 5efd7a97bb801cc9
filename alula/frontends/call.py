"""What the importers of all formats share: their registries, and a call with the constants and views that it needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

import numpy as np

from alula.core.dims import Dim
from alula.core.dtype import Array, DType, cast_array
from alula.core.errors import GraphError
from alula.ir.graph import Graph, Value
from alula.ir.op import Op, infer_types
from alula.ops.elementwise import Cast
from alula.ops.shape import Reshape, Transpose

F = TypeVar("F", bound=Callable[..., Any])


def registers(registry: dict[str, Any], names: tuple[str, ...]) -> Callable[[F], F]:
    """Puts a function in a registry under these names.  Raises GraphError for a name that is in it."""

    def register(function: F) -> F:
        for name in names:
            if name in registry:
                raise GraphError(f"importer of {name}: expected one, got a second")
            registry[name] = function
        return function

    return register


class Refused(Exception):
    """An operator in a form that we do not know; the text says which form, `with dilation 2`.

    `unknown` are the values whose elements would have to be known.
    """

    def __init__(self, form: str, *unknown: Value) -> None:
        super().__init__(form)
        self.unknown = unknown


@dataclass(slots=True)
class GraphCall:
    """One operator of a model that is imported, and the graph it goes to."""

    graph: Graph
    views: dict[tuple[Value, object], Value] = field(default_factory=dict, kw_only=True)

    def refuse(self, form: str, *unknown: Value) -> NoReturn:
        """Say that the operator cannot be imported in this form, or not while these values are unknown."""
        raise Refused(form, *unknown)

    def add(self, op: Op, *inputs: Value) -> Value:
        """The output of a new node."""
        return self.graph.add(op, *inputs)

    def constant(self, data: Any, dtype: DType) -> Value:
        """A constant of `data`, a number or nested numbers."""
        return self.graph.constant(cast_array(np.asarray(data), dtype))

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
        if value.data is not None and len(perm) == value.type.rank:
            return self._view(value, perm, value.data.transpose(perm))
        return self.add(Transpose(perm=perm), value)

    def reshape(self, value: Value, *shape: Dim) -> Value:
        """`value` in another shape; of a constant without a node.  Raises ShapeError for another number of elements."""
        if value.type.shape == shape:
            return value
        sizes = tuple(dim for dim in shape if isinstance(dim, int))
        if value.data is not None and len(sizes) == len(shape):
            infer_types(Reshape(shape=shape), [value.type])
            return self._view(value, ("reshape", sizes), value.data.reshape(sizes))
        return self.add(Reshape(shape=shape), value)

    def _view(self, value: Value, key: object, data: Array) -> Value:
        """One Value for each way to look at a constant, so that shared weights stay shared."""
        return self.views.setdefault((value, key), self.graph.constant(data, value.name))


def channels_last(call: GraphCall, x: Value) -> Value:
    """y[n,...,c] of x[n,c,...]."""
    if x.type.rank < 2:
        call.refuse(f"of an input {x.type} without channels")
    return call.transpose(x, 0, *range(2, x.type.rank), 1)


def channels_first(call: GraphCall, x: Value) -> Value:
    """y[n,c,...] of x[n,...,c]."""
    return call.transpose(x, 0, x.type.rank - 1, *range(1, x.type.rank - 1))


def last_axis_of(call: GraphCall, x: Value, axis: int) -> Value:
    """x with an axis moved to the end."""
    return call.transpose(x, *(n for n in range(x.type.rank) if n != axis), axis)


def last_axis_back(call: GraphCall, x: Value, axis: int) -> Value:
    """x with its last axis moved to where it was."""
    order = list(range(x.type.rank - 1))
    return call.transpose(x, *order[:axis], x.type.rank - 1, *order[axis:])
