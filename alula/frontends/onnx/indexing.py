"""Importers of what reads or writes at places that are numbers of a tensor."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from alula.core.dims import product
from alula.core.dtype import DType
from alula.frontends.call import last_axis_back, last_axis_of
from alula.frontends.moves import cut, taken
from alula.frontends.onnx.call import Call, Result, axis_of, imports
from alula.frontends.onnx.shape import join, reverse
from alula.ir.graph import Value
from alula.ir.types import fixed
from alula.ops.elementwise import Add, Mul
from alula.ops.gather import Gather, Scatter
from alula.ops.logic import Equal, Less, Where
from alula.ops.reduce import ReduceMax, ReduceMin
from alula.ops.shape import Pad
from alula.ops.sort import TopK


@imports("Gather")
def gather(call: Call, x: Value, indices: Value) -> Value:
    """x at `indices` of an axis."""
    axis = axis_of(call, call.get("axis", 0), x.type.rank)
    if indices.data is not None:
        return taken(call, x, np.asarray(indices.data, np.int64), axis)
    if indices.type.dtype not in (DType.I32, DType.I64):
        call.refuse(f"with indices {indices.type}")
    return call.add(Gather(axis=axis), x, indices)


def _counted(call: Call, indices: Value, size: int) -> Value:
    """Run-time indices as i64, those below 0 counted from the end."""
    if indices.type.dtype not in (DType.I32, DType.I64):
        call.refuse(f"with indices {indices.type}")
    places = call.cast(indices, DType.I64)
    below = call.add(Less(), places, call.constant(0, DType.I64))
    return call.add(Where(), below, call.add(Add(), places, call.constant(size, DType.I64)), places)


def _fixed_shape(call: Call, x: Value) -> list[int]:
    sizes = [dim for dim in x.type.shape if isinstance(dim, int)]
    if len(sizes) != x.type.rank or prod(sizes) > 1 << 40 or 0 in sizes:
        call.refuse(f"of an input {x.type}")
    return sizes


@imports("GatherElements")
def gather_elements(call: Call, x: Value, indices: Value) -> Value:
    """The element of x whose place along an axis is the index, and along the others that of the index."""
    axis = axis_of(call, call.get("axis", 0), x.type.rank)
    x, places = _alike(call, x, indices, axis)
    return last_axis_back(call, call.add(Gather(axis=x.type.rank - 1, batch=x.type.rank - 1), x, places), axis)


def _alike(call: Call, x: Value, indices: Value, axis: int) -> tuple[Value, Value]:
    """x and the indices with the axis at the end, x cut to the indices along all others."""
    if indices.type.rank != x.type.rank or indices.type.dtype not in (DType.I32, DType.I64):
        call.refuse(f"of {x.type} with indices {indices.type}")
    for other, dim in enumerate(indices.type.shape):
        if other != axis:
            x = cut(call, x, other, 0, dim)
    return last_axis_of(call, x, axis), last_axis_of(call, indices, axis)


@imports("ScatterElements", "Scatter")
def scatter_elements(call: Call, x: Value, indices: Value, updates: Value) -> Value:
    """x with updates at the places along an axis that the indices name."""
    rank, reduction = x.type.rank, call.get("reduction", "none")
    axis = axis_of(call, call.get("axis", 0), rank)
    part, places = _alike(call, x, indices, axis)
    op = Scatter(axis=rank - 1, batch=rank - 1, reduction=reduction)
    y = last_axis_back(call, call.add(op, part, places, last_axis_of(call, updates, axis)), axis)
    return _put(call, x, y)


def _put(call: Call, x: Value, y: Value) -> Value:
    """x with y in its first corner."""
    for axis in reversed(range(x.type.rank)):
        if y.type.shape[axis] != x.type.shape[axis]:
            around = x
            for other in range(axis):
                around = cut(call, around, other, 0, y.type.shape[other])
            rest = cut(call, around, axis, y.type.shape[axis], x.type.shape[axis])
            y = join(call, [y, rest], axis)
    return y


def _flat_places(call: Call, indices: Value, named: Sequence[int]) -> Value:
    """Row numbers of the axes that the last axis of the indices names, one number for each."""
    last, total = indices.type.rank - 1, None
    for place, size in enumerate(named):
        one = call.reshape(cut(call, indices, last, place, place + 1), *indices.type.shape[:-1])
        step = call.constant(prod(named[place + 1 :]), DType.I64)
        part = call.add(Mul(), _counted(call, one, size), step)
        total = part if total is None else call.add(Add(), total, part)
    assert total is not None
    return total


def _named_axes(call: Call, x: Value, indices: Value, batch: int) -> list[int]:
    """The sizes of the axes of x that the last axis of the indices names, after `batch` ones that both have."""
    count = indices.type.shape[-1] if indices.type.rank else 0
    rank = x.type.rank
    if not isinstance(count, int) or not 0 <= batch < min(rank, indices.type.rank) or not 1 <= count <= rank - batch:
        call.refuse(f"of {x.type} with indices {indices.type} and batch_dims {batch}")
    sizes = [dim for dim in x.type.shape[batch : batch + count] if isinstance(dim, int)]
    if len(sizes) != count or prod(sizes) > 1 << 40 or 0 in sizes:
        call.refuse(f"of an input {x.type} with indices {indices.type}")
    return sizes


@imports("GatherND")
def gather_nd(call: Call, x: Value, indices: Value) -> Value:
    """What of x the last axis of the indices names, element by element or slice by slice."""
    batch, shape = call.get("batch_dims", 0), x.type.shape
    named = _named_axes(call, x, indices, batch)
    rows = call.reshape(x, *shape[:batch], prod(named), *shape[batch + len(named) :])
    return call.add(Gather(axis=batch, batch=batch), rows, _flat_places(call, indices, named))


@imports("ScatterND")
def scatter_nd(call: Call, x: Value, indices: Value, updates: Value) -> Value:
    """x with updates where the last axis of the indices names it, element by element or slice by slice."""
    named, shape = _named_axes(call, x, indices, 0), x.type.shape
    rows = call.reshape(x, prod(named), *shape[len(named) :])
    op = Scatter(axis=0, reduction=call.get("reduction", "none"))
    return call.reshape(call.add(op, rows, _flat_places(call, indices, named), updates), *shape)


@imports("TopK")
def top_k(call: Call, x: Value, k: Value | None = None) -> Result:
    """The largest or smallest elements along an axis in order, and where they are."""
    rank = x.type.rank
    axis = axis_of(call, call.get("axis", -1), rank)
    count = call.get("k", 0) if call.opset < 10 else int(call.number(k, "a count"))
    call.get("sorted", 1)  # in order they are in any order
    line = last_axis_of(call, x, axis)
    size = line.type.shape[-1] if rank else 0
    if not isinstance(size, int) or not 0 <= count <= size:
        call.refuse(f"of the first {count} of {size} elements")
    narrow = x.type.dtype in (DType.F16, DType.BF16)
    node = call.graph.add_node(
        TopK(k=count, largest=bool(call.get("largest", 1))), call.cast(line, DType.F32) if narrow else line
    )
    values, places = node.outputs
    return last_axis_back(call, call.cast(values, x.type.dtype), axis), last_axis_back(call, places, axis)


@imports("ArgMax")
def arg_max(call: Call, x: Value) -> Value:
    """Where the largest element along an axis is, the first one or the last."""
    return _arg(call, x, ReduceMax)


@imports("ArgMin")
def arg_min(call: Call, x: Value) -> Value:
    """Where the smallest element along an axis is, the first one or the last."""
    return _arg(call, x, ReduceMin)


def _arg(call: Call, x: Value, extreme: type[ReduceMax] | type[ReduceMin]) -> Value:
    axis, last = axis_of(call, call.get("axis", 0), x.type.rank), bool(call.get("select_last_index", 0))
    places = places_of(call, x, axis, extreme, last=last)
    shape = places.type.shape
    kept = shape if call.get("keepdims", 1) else (*shape[:axis], *shape[axis + 1 :])
    return call.reshape(call.cast(places, DType.I64), *kept)


def places_of(
    call: Call, x: Value, axis: int, extreme: type[ReduceMax] | type[ReduceMin] = ReduceMax, *, last: bool = False
) -> Value:
    """The place of the extreme element as a number in float32; the axis stays, of size 1."""
    size = x.type.shape[axis]
    if not isinstance(size, int) or not 1 <= size <= 1 << 24 or x.type.dtype not in (DType.F32, DType.F16, DType.BF16):
        call.refuse(f"of an input {x.type}")
    most = call.add(extreme(axes=(axis,), keepdims=True), x)
    numbers = np.arange(size, dtype=np.float32).reshape([-1 if n == axis else 1 for n in range(x.type.rank)])
    beyond = 0.0 if last else float(size - 1)
    chosen = call.add(
        Where(), call.add(Equal(), x, most), call.graph.constant(numbers), call.constant(beyond, DType.F32)
    )
    pick = ReduceMax if last else ReduceMin
    return call.add(pick(axes=(axis,), keepdims=True), chosen)


@imports("Hardmax")
def hardmax(call: Call, x: Value) -> Value:
    """1 at the first largest element along an axis (before opset 13, of all axes from it on), 0 elsewhere."""
    rank, shape = x.type.rank, x.type.shape
    axis = axis_of(call, call.get("axis", -1 if call.opset >= 13 else 1), rank)
    if call.opset < 13:
        x = call.reshape(x, *shape[:axis], product(shape[axis:]))
    places = places_of(call, x, axis)
    size = fixed(x.type.shape[axis], "axis")
    numbers = np.arange(size, dtype=np.float32).reshape([-1 if n == axis else 1 for n in range(x.type.rank)])
    found = call.add(Equal(), places, call.graph.constant(numbers))
    return call.reshape(call.cast(call.cast(found, DType.F32), x.type.dtype), *shape)


@imports("CumSum")
def cumulative_sum(call: Call, x: Value, axis: Value) -> Value:
    """Sums of all elements up to each along an axis, in steps that double."""
    place = axis_of(call, int(call.number(axis, "an axis")), x.type.rank)
    size = x.type.shape[place]
    if not isinstance(size, int):
        call.refuse("along the batch")
    if call.get("reverse", 0):
        x = reverse(call, x, place)
    if call.get("exclusive", 0):
        x = _shifted(call, x, place, 1, size)
    step = 1
    while step < size:
        x = call.add(Add(), x, _shifted(call, x, place, step, size))
        step *= 2
    return reverse(call, x, place) if call.get("reverse", 0) else x


def _shifted(call: Call, x: Value, axis: int, step: int, size: int) -> Value:
    """x moved along an axis by `step`, zeros in front."""
    before = tuple(step if n == axis else 0 for n in range(x.type.rank))
    return call.add(Pad(before=before, after=(0,) * x.type.rank), cut(call, x, axis, 0, size - step))


@imports("Trilu")
def triangle(call: Call, x: Value, k: Value | None = None) -> Value:
    """The upper or lower triangle of matrices, zeros elsewhere."""
    diagonal = 0 if k is None else int(call.number(k, "a diagonal"))
    rows, columns = x.type.shape[-2:] if x.type.rank > 1 else (None, None)
    if not isinstance(rows, int) or not isinstance(columns, int) or rows * columns > 1 << 24:
        call.refuse(f"of an input {x.type}")
    lower = np.tri(rows, columns, diagonal if not call.get("upper", 1) else diagonal - 1) > 0
    kept = ~lower if call.get("upper", 1) else lower
    return call.add(Where(), call.graph.constant(kept), x, call.like(0, x))


@imports("OneHot")
def one_hot(call: Call, indices: Value, depth: Value, values: Value) -> Value:
    """values[1] where an axis's place is the index, values[0] elsewhere."""
    size, rank = int(call.number(depth, "a depth")), indices.type.rank + 1
    axis = axis_of(call, call.get("axis", -1), rank)
    if not 1 <= size <= 1 << 20:
        call.refuse(f"of depth {size}")
    if indices.type.dtype in (DType.I32, DType.I64):
        places = _counted(call, indices, size)
    else:
        places = call.cast(indices, DType.I64)
        below = call.add(Less(), places, call.constant(0, DType.I64))
        places = call.add(Where(), below, call.add(Add(), places, call.constant(size, DType.I64)), places)
    shape = indices.type.shape
    numbers = call.constant(np.arange(size).reshape([-1 if n == axis else 1 for n in range(rank)]), DType.I64)
    found = call.add(Equal(), call.reshape(places, *shape[:axis], 1, *shape[axis:]), numbers)
    off, on = (call.reshape(cut(call, values, 0, n, n + 1)) for n in (0, 1))
    return call.add(Where(), found, on, off)


@imports("ReverseSequence")
def reverse_sequence(call: Call, x: Value, lengths: Value) -> Value:
    """The first elements of each row in the opposite order, as many as its length says."""
    across, along = call.get("batch_axis", 1), call.get("time_axis", 0)
    counts = call.ints(lengths, "lengths")
    if x.type.rank < 2 or {across, along} != {0, 1} or x.type.shape[across] != len(counts):
        call.refuse(f"of an input {x.type}")
    rows = []
    for row, count in enumerate(counts):
        one = cut(call, x, across, row, row + 1)
        turned = reverse(call, cut(call, one, along, 0, count), along)
        rows.append(join(call, [turned, cut(call, one, along, count, one.type.shape[along])], along))
    return join(call, rows, across)
