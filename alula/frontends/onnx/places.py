"""Numbers that count the batch, which exporters compute to take elements of a flattened tensor by (`as_strided`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from alula.core.dtype import Array
from alula.frontends.moves import taken
from alula.frontends.onnx.call import Call, Operand, Places, axis_of, counts
from alula.ir.graph import Value


def _known(call: Call, value: Operand) -> Array:
    """A constant that is the same for every element of the batch."""
    return call.array(value, "numbers that count the batch and an operand")


@counts("Unsqueeze")
def unsqueeze(call: Call, x: Places, axes: Operand = None) -> Places:
    """x with axes of size 1 after its first."""
    chosen = call.get("axes", None) if call.opset < 13 else _known(call, axes).reshape(-1).tolist()
    rank = len(x.shape) + len(chosen or [])
    places = {axis_of(call, axis, rank) for axis in chosen or []}
    if 0 in places:
        call.refuse("before the axis that counts the batch")
    sizes = iter(x.offsets.shape)
    return replace(x, offsets=x.offsets.reshape([1 if axis in places else next(sizes) for axis in range(rank)]))


def _by_constant(name: str, change: Callable[[Call, Places, Array], Places]) -> None:
    @counts(name)
    def compute(call: Call, a: Operand, b: Operand) -> Places:
        if isinstance(a, Places):
            return change(call, a, _known(call, b))
        assert isinstance(b, Places)
        return change(call, b, _known(call, a))


def _scaled(call: Call, x: Places, factor: Array) -> Places:
    if factor.size != 1:
        call.refuse("by several numbers")
    return Places(x.count, x.step * int(factor.reshape(-1)[0]), x.offsets * int(factor.reshape(-1)[0]))


def _moved(call: Call, x: Places, distance: Array) -> Places:
    rank = len(x.shape)
    if distance.ndim > rank or (distance.ndim == rank and distance.shape[0] != 1):
        call.refuse("of another number for each element of the batch")
    return replace(x, offsets=x.offsets + distance)


_by_constant("Mul", _scaled)
_by_constant("Add", _moved)


@counts("Gather")
def gather(call: Call, x: Value, indices: Places) -> Value:
    """Elements of a tensor that was flattened: the same ones of every element of the batch."""
    axis, step, offsets = axis_of(call, call.get("axis", 0), x.type.rank), indices.step, indices.offsets[0]
    if axis != 0 or step < 1 or x.type.shape[0] != indices.count * step:
        call.refuse(f"of {x.type} at every {step} places")
    if offsets.size and not 0 <= offsets.min() <= offsets.max() < step:
        call.refuse(f"with an index outside the {step} elements of each in the batch")
    apart = call.reshape(x, indices.count, step, *x.type.shape[1:])
    return taken(call, apart, np.asarray(offsets, np.int64), 1)
