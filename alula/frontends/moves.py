"""Parts of an axis: slices, and elements at known places."""

from __future__ import annotations

import numpy as np

from alula.core.dims import Dim
from alula.core.dtype import Array
from alula.frontends.call import GraphCall
from alula.ir.graph import Value
from alula.ops.gather import Gather
from alula.ops.shape import Slice


def cut(call: GraphCall, x: Value, axis: int, start: Dim, stop: Dim, step: int = 1) -> Value:
    """x[start:stop:step] along `axis`, from ends within it."""
    if start == 0 and stop == x.type.shape[axis] and step == 1:
        return x
    if isinstance(start, int) and isinstance(stop, int):
        stop = max(start, stop)
    return call.add(Slice(axis=axis, start=start, stop=stop, step=step), x)


def taken(call: GraphCall, x: Value, places: Array, axis: int) -> Value:
    """x at known places of an axis, whose axes take its place: a slice where they are evenly spaced."""
    size = x.type.shape[axis]
    flat = np.where(places < 0, places + size, places).reshape(-1) if isinstance(size, int) else places.reshape(-1)
    if not isinstance(size, int):
        if flat.size != 1:
            call.refuse("along the batch")
        start = size + int(flat[0]) if flat[0] < 0 else int(flat[0])
        y = cut(call, x, axis, start, start + 1)
    else:
        if flat.size and not 0 <= flat.min() <= flat.max() < size:
            call.refuse(f"with an index outside {size} elements")
        step = int(flat[1] - flat[0]) if flat.size > 1 else 1
        if not flat.size:
            y = cut(call, x, axis, 0, 0)
        elif step > 0 and np.array_equal(flat, flat[0] + step * np.arange(flat.size)):
            y = cut(call, x, axis, int(flat[0]), int(flat[-1]) + 1, step)
        else:
            indices = np.ascontiguousarray(np.where(places < 0, places + size, places), np.int64)
            return call.add(Gather(axis=axis), x, call.graph.constant(indices))
    return call.reshape(y, *x.type.shape[:axis], *places.shape, *x.type.shape[axis + 1 :])
