"""Importers of reductions."""

from __future__ import annotations

from collections.abc import Sequence

from alula.core.dtype import DType
from alula.frontends.moves import cut
from alula.frontends.onnx.call import Call, axis_of, imports
from alula.ir.graph import Value
from alula.ops import elementwise as ops
from alula.ops.logic import Less
from alula.ops.reduce import ReduceMax, ReduceMean, ReduceMin, ReduceSum
from alula.ops.shape import Expand

Reduction = type[ReduceMax] | type[ReduceMean] | type[ReduceMin] | type[ReduceSum]


def reduced(call: Call, op: Reduction, x: Value, axes: Sequence[int], keepdims: bool) -> Value:
    """op over `axes`."""
    places = tuple(sorted({axis_of(call, axis, x.type.rank) for axis in axes}))
    return call.add(op(axes=places, keepdims=keepdims), x) if places else x


def _axes(call: Call, x: Value, axes: Value | None, moved: int) -> tuple[list[int], bool] | None:
    """The axes and whether they stay; None where nothing is to be reduced.  `moved` is when they became an operand."""
    chosen = call.get("axes", None) if call.opset < moved else None if axes is None else call.ints(axes, "axes")
    keep = bool(call.get("keepdims", 1))
    if not chosen:
        if call.get("noop_with_empty_axes", 0):
            return None
        chosen = list(range(x.type.rank))
    else:
        call.get("noop_with_empty_axes", 0)
    return chosen, keep


def _plain(name: str, op: Reduction, moved: int) -> None:
    @imports(name)
    def reduction(call: Call, x: Value, axes: Value | None = None) -> Value:
        found = _axes(call, x, axes, moved)
        if found is None:
            return x
        if x.type.dtype is DType.BOOL:  # as 0 and 1
            if name not in ("ReduceMax", "ReduceMin"):
                call.refuse("of booleans")
            return call.add(Less(), call.constant(0, DType.F32), reduced(call, op, call.cast(x, DType.F32), *found))
        return reduced(call, op, x, *found)


_plain("ReduceSum", ReduceSum, 13)
_plain("ReduceMean", ReduceMean, 18)
_plain("ReduceMax", ReduceMax, 18)
_plain("ReduceMin", ReduceMin, 18)


@imports("ReduceSumSquare")
def sum_of_squares(call: Call, x: Value, axes: Value | None = None) -> Value:
    """The sum of squares over axes."""
    found = _axes(call, x, axes, 18)
    squares = call.add(ops.Mul(), x, x)
    return squares if found is None else reduced(call, ReduceSum, squares, *found)


@imports("ReduceL1")
def sum_of_sizes(call: Call, x: Value, axes: Value | None = None) -> Value:
    """The sum of |x| over axes."""
    found = _axes(call, x, axes, 18)
    sizes = call.add(ops.Abs(), x)
    return sizes if found is None else reduced(call, ReduceSum, sizes, *found)


@imports("ReduceL2")
def root_of_squares(call: Call, x: Value, axes: Value | None = None) -> Value:
    """The root of the sum of squares over axes."""
    found = _axes(call, x, axes, 18)
    squares = call.add(ops.Mul(), x, x)
    return call.add(ops.Sqrt(), squares if found is None else reduced(call, ReduceSum, squares, *found))


@imports("ReduceLogSum")
def log_of_sum(call: Call, x: Value, axes: Value | None = None) -> Value:
    """The logarithm of the sum over axes."""
    found = _axes(call, x, axes, 18)
    return call.add(ops.Log(), x if found is None else reduced(call, ReduceSum, x, *found))


@imports("ReduceLogSumExp")
def log_of_sum_of_powers(call: Call, x: Value, axes: Value | None = None) -> Value:
    """m + log(sum(exp(x - m))) over axes, m the largest element."""
    found = _axes(call, x, axes, 18)
    if found is None:
        return x
    chosen, keep = found
    most = reduced(call, ReduceMax, x, chosen, True)
    most = call.add(ops.Clip(low=-3e38, high=3e38), most)  # an infinity less itself is no number
    powers = call.add(ops.Exp(), call.add(ops.Sub(), x, most))
    total = call.add(ops.Log(), reduced(call, ReduceSum, powers, chosen, keep))
    return call.add(ops.Add(), total, most if keep else call.reshape(most, *total.type.shape))


@imports("ReduceProd")
def product_over(call: Call, x: Value, axes: Value | None = None) -> Value:
    """The product over axes, of few elements."""
    found = _axes(call, x, axes, 18)
    if found is None:
        return x
    chosen, keep = found
    for axis in sorted({axis_of(call, axis, x.type.rank) for axis in chosen}):
        size = x.type.shape[axis]
        if not isinstance(size, int) or size > MOST_FACTORS:
            call.refuse(f"of {size} elements")
        if size == 0:  # of none it is 1
            shape = (*x.type.shape[:axis], 1, *x.type.shape[axis + 1 :])
            x = call.add(Expand(shape=shape), call.like(1, x))
            continue
        parts = [cut(call, x, axis, place, place + 1) for place in range(size)]
        x = parts[0]
        for part in parts[1:]:
            x = call.add(ops.Mul(), x, part)
    if keep:
        return x
    places = {axis_of(call, axis, x.type.rank) for axis in chosen}
    return call.reshape(x, *(dim for axis, dim in enumerate(x.type.shape) if axis not in places))


MOST_FACTORS = 256
