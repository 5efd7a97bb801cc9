"""Importers of reductions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alula.core.dims import product
from alula.frontends.torch.call import Call, Number, Result, axes_of, imports
from alula.ir.graph import Value
from alula.ops import elementwise as ops
from alula.ops.reduce import ReduceMax, ReduceMean, ReduceMin, ReduceSum

Axes = int | Sequence[int] | None
Reduction = type[ReduceMax] | type[ReduceMean] | type[ReduceMin] | type[ReduceSum]


def reduced(call: Call, op: Reduction, x: Value, axes: Axes, keepdims: bool) -> Value:
    """op over `axes`, all for none, in the result's element type."""
    x = call.cast(x, call.type.dtype)
    chosen = axes_of(axes, x.type.rank)
    return call.add(op(axes=chosen, keepdims=keepdims), x) if chosen else x


@imports("aten.sum.default", "aten.sum.dim_IntList")
def total(call: Call, x: Value, dim: Axes = None, keepdim: bool = False, dtype: Any = None) -> Value:
    """Sums over dim."""
    return reduced(call, ReduceSum, x, dim, keepdim)


@imports("aten.mean.default", "aten.mean.dim")
def mean(call: Call, x: Value, dim: Axes = None, keepdim: bool = False, dtype: Any = None) -> Value:
    """Means over dim."""
    return reduced(call, ReduceMean, x, dim, keepdim)


@imports("aten.amax.default", "aten.max.default")
def largest(call: Call, x: Value, dim: Axes = None, keepdim: bool = False) -> Value:
    """Largest elements over dim."""
    return reduced(call, ReduceMax, x, dim, keepdim)


@imports("aten.amin.default", "aten.min.default")
def smallest(call: Call, x: Value, dim: Axes = None, keepdim: bool = False) -> Value:
    """Smallest elements over dim."""
    return reduced(call, ReduceMin, x, dim, keepdim)


@imports("aten.max.dim")
def largest_and_where(call: Call, x: Value, dim: int, keepdim: bool = False) -> Result:
    """Largest elements over dim; not where they are."""
    return reduced(call, ReduceMax, x, dim, keepdim), None


@imports("aten.min.dim")
def smallest_and_where(call: Call, x: Value, dim: int, keepdim: bool = False) -> Result:
    """Smallest elements over dim; not where they are."""
    return reduced(call, ReduceMin, x, dim, keepdim), None


@imports("aten.linalg_vector_norm.default")
def vector_norm(
    call: Call, x: Value, ord: Number = 2, dim: Axes = None, keepdim: bool = False, dtype: Any = None
) -> Value:
    """The square root of the sum of squares over dim."""
    if ord != 2:
        call.refuse(f"of order {ord}")
    x = call.cast(x, call.type.dtype)
    return call.add(ops.Sqrt(), reduced(call, ReduceSum, call.add(ops.Mul(), x, x), dim, keepdim))


@imports("aten.var.correction", "aten.var.dim")
def variance(
    call: Call,
    x: Value,
    dim: Axes = None,
    unbiased: bool = True,
    keepdim: bool = False,
    correction: Number | None = None,
) -> Value:
    """sum((x - mean)^2) / (count - correction) over dim; the correction is 1 unless said otherwise."""
    axes = axes_of(dim, x.type.rank)
    count = product(x.type.shape[axis] for axis in axes)
    less = int(unbiased) if correction is None else correction
    if not isinstance(count, int):
        call.refuse("over the batch")
    if count <= less:
        call.refuse(f"of {count} elements with correction {less}")
    centred = call.add(ops.Sub(), x, call.add(ReduceMean(axes=axes, keepdims=True), x))
    spread = call.add(ReduceSum(axes=axes, keepdims=keepdim), call.add(ops.Mul(), centred, centred))
    return call.add(ops.Mul(), spread, call.constant(1 / (count - less), x.type.dtype))


@imports("aten.std.correction", "aten.std.dim")
def deviation(
    call: Call,
    x: Value,
    dim: Axes = None,
    unbiased: bool = True,
    keepdim: bool = False,
    correction: Number | None = None,
) -> Value:
    """The square root of the variance."""
    return call.add(ops.Sqrt(), variance(call, x, dim, unbiased, keepdim, correction))
