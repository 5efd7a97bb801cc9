"""Importers of what only moves elements: views, transposes, slices, joins, repeats and padding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alula.core.dims import LARGEST_SIZE, Dim, Expr, product, quotient
from alula.core.dtype import DType
from alula.frontends.moves import cut, taken
from alula.frontends.onnx.call import Call, Operand, Result, axis_of, imports
from alula.frontends.onnx.sizes import piece_sizes
from alula.frontends.onnx.source import DTYPES
from alula.ir.graph import Value
from alula.ops import shape as ops
from alula.ops.checks import broadcast as broadcast_shape
from alula.ops.shape import Concat, Expand

LONGEST_CHAIN = 256  # slices that one operator may become
LAST = (1 << 31) - 1  # ends that are meant to lie behind the last element, in 32 bits or more, begin here


@imports("Identity")
def identity(call: Call, x: Value) -> Value:
    """x."""
    return x


@imports("Dropout")
def dropout(call: Call, x: Value, ratio: Value | None = None, training: Value | None = None) -> Result:
    """x: nothing is dropped outside training; the mask is true everywhere."""
    call.get("ratio", None)
    call.get("seed", None)
    call.get("is_test", None)
    trained = training is not None and bool(call.number(training, "a training mode"))
    if trained and (ratio is None or call.number(ratio, "a ratio") != 0):
        call.refuse("in training: what it drops is random")
    if call.results == 1:
        return x
    mask = call.constant(True, DType.BOOL)
    return x, broadcast(call, mask, *x.type.shape)


@imports("Reshape")
def reshape(call: Call, x: Value, shape: Operand) -> Value:
    """x in another shape; 0 keeps a dimension, -1 is what is left."""
    wanted = list(call.dims(shape, "a shape"))
    if not call.get("allowzero", 0):
        for place, dim in enumerate(wanted):
            if dim == 0 and place < x.type.rank:
                wanted[place] = x.type.shape[place]
    free = [place for place, dim in enumerate(wanted) if dim == -1]
    if len(free) > 1 or any(isinstance(dim, int) and not -1 <= dim <= LARGEST_SIZE for dim in wanted):
        call.refuse(f"to {wanted!r:.60}")
    if free:
        rest = product(dim for place, dim in enumerate(wanted) if place != free[0])
        try:
            wanted[free[0]] = quotient(x.type.elements, rest) if rest != 0 else 0
        except ValueError:
            call.refuse(f"of {x.type} to {wanted!r:.60}")
    return call.reshape(x, *wanted)


@imports("Flatten")
def flatten(call: Call, x: Value) -> Value:
    """x as a matrix: the axes before `axis` are its rows."""
    axis = call.get("axis", 1)
    axis = axis + x.type.rank if axis < 0 else axis
    if not 0 <= axis <= x.type.rank:
        call.refuse(f"with axis {axis} of rank {x.type.rank}")
    return call.reshape(x, product(x.type.shape[:axis]), product(x.type.shape[axis:]))


@imports("Squeeze")
def squeeze(call: Call, x: Value, axes: Value | None = None) -> Value:
    """x without axes of size 1: those that are named, or all."""
    chosen = call.get("axes", None) if call.opset < 13 else None if axes is None else call.ints(axes, "axes")
    if chosen:
        places = {axis_of(call, axis, x.type.rank) for axis in chosen}
    else:
        if any(isinstance(dim, Expr) for dim in x.type.shape):
            call.refuse("without axes while the batch is open")
        places = {axis for axis, dim in enumerate(x.type.shape) if dim == 1}
    return call.reshape(x, *(dim for axis, dim in enumerate(x.type.shape) if axis not in places))


@imports("Unsqueeze")
def unsqueeze(call: Call, x: Value, axes: Value | None = None) -> Value:
    """x with new axes of size 1."""
    chosen = call.get("axes", None) if call.opset < 13 else call.ints(axes, "axes")
    rank = x.type.rank + len(chosen or [])
    places = {axis_of(call, axis, rank) for axis in chosen or []}
    if len(places) != len(chosen or []):
        call.refuse(f"with axes {chosen!r:.60}")
    rest = iter(x.type.shape)
    return call.reshape(x, *(1 if axis in places else next(rest) for axis in range(rank)))


@imports("Transpose")
def transpose(call: Call, x: Value) -> Value:
    """x with its axes in the order `perm`, by default the reverse."""
    return call.transpose(x, *(call.get("perm", None) or reversed(range(x.type.rank))))


@imports("Expand")
def expand(call: Call, x: Value, shape: Operand) -> Value:
    """x broadcast together with a shape."""
    return broadcast(call, x, *broadcast_shape(x.type.shape, call.dims(shape, "a shape")))


def broadcast(call: Call, x: Value, *shape: Dim) -> Value:
    """x broadcast to `shape`."""
    return x if x.type.shape == shape else call.add(Expand(shape=shape), x)


@imports("Tile")
def tile(call: Call, x: Value, repeats: Operand) -> Value:
    """x repeated along its axes."""
    times = call.dims(repeats, "repeats")
    if len(times) != x.type.rank or any(isinstance(count, int) and count < 0 for count in times):
        call.refuse(f"with repeats {times!r:.60}")
    apart = [dim for size in x.type.shape for dim in (1, size)]
    tiled = [dim for count, size in zip(times, x.type.shape, strict=True) for dim in (count, size)]
    whole = [count * size for count, size in zip(times, x.type.shape, strict=True)]
    return call.reshape(broadcast(call, call.reshape(x, *apart), *tiled), *whole)


def join(call: Call, parts: Sequence[Value], axis: int) -> Value:
    """The parts one after the other along `axis`."""
    return parts[0] if len(parts) == 1 else call.add(Concat(axis=axis), *parts)


@imports("Slice")
def slice_(
    call: Call,
    x: Value,
    starts: Operand = None,
    ends: Operand = None,
    axes: Value | None = None,
    steps: Value | None = None,
) -> Value:
    """Parts of axes; negative ends count from the back, ends outside are clamped."""
    if call.opset < 10:
        first, last = list(call.get("starts", ())), list(call.get("ends", ()))
        places, strides = list(call.get("axes", None) or range(len(first))), [1] * len(first)
    else:
        first, last = list(call.dims(starts, "starts")), list(call.dims(ends, "ends"))
        places = list(range(len(first))) if axes is None else call.ints(axes, "axes")
        strides = [1] * len(first) if steps is None else call.ints(steps, "steps")
    if not len(first) == len(last) == len(places) == len(strides) or 0 in strides:
        call.refuse("with starts, ends, axes and steps that do not go together")
    for start, end, place, step in zip(first, last, places, strides, strict=True):
        x = _sliced(call, x, axis_of(call, place, x.type.rank), start, end, step)
    return x


def _sliced(call: Call, x: Value, axis: int, start: Dim, end: Dim, step: int) -> Value:
    size = x.type.shape[axis]
    if step > 0:
        return cut(call, x, axis, _clamped(call, start, size), _clamped(call, end, size), step)
    if not isinstance(size, int) or not isinstance(start, int) or not isinstance(end, int):
        call.refuse("backwards along the batch")
    begin = min(max(start + size if start < 0 else start, -1), size - 1)
    stop = min(max(end + size if end < 0 else end, -1), size - 1)
    places = range(begin, stop, step)
    if len(places) < 1:
        return cut(call, x, axis, 0, 0)
    low, high = places[-1], places[0] + 1
    return reverse(call, cut(call, x, axis, low, high, -step), axis)


def reverse(call: Call, x: Value, axis: int) -> Value:
    """x with the elements of an axis in the opposite order."""
    size = x.type.shape[axis]
    if not isinstance(size, int):
        call.refuse("backwards along the batch")
    return x if size < 2 else taken(call, x, np.arange(size)[::-1], axis)


def _clamped(call: Call, index: Dim, size: Dim) -> Dim:
    if not isinstance(index, int):
        return index
    if not isinstance(size, int):
        if index >= LAST:
            return size
        return index if index >= 0 else size + index if index > -(1 << 31) else 0
    return min(max(index + size if index < 0 else index, 0), size)


@imports("Split")
def split(call: Call, x: Value, sizes: Value | None = None) -> Sequence[Value]:
    """x in pieces along an axis."""
    axis = axis_of(call, call.get("axis", 0), x.type.rank)
    given = call.get("split", None) if call.opset < 13 else None if sizes is None else call.ints(sizes, "sizes")
    start, pieces = 0, []
    for size in piece_sizes(call, x.type.shape[axis], given):
        pieces.append(cut(call, x, axis, start, start + size))
        start += size
    return pieces


@imports("Concat")
def concat(call: Call, *tensors: Value) -> Value:
    """The tensors one after the other along an axis."""
    if not tensors:
        call.refuse("of nothing")
    return join(call, tensors, axis_of(call, call.get("axis", 1), tensors[0].type.rank))


@imports("Pad")
def pad(
    call: Call, x: Value, pads: Value | None = None, value: Value | None = None, axes: Value | None = None
) -> Value:
    """x with a constant, its edge or its mirror image around it; below 0 it crops."""
    mode, rank = call.get("mode", "constant"), x.type.rank
    amounts = call.get("pads", None) or [] if call.opset < 11 else call.ints(pads, "pads")
    places = list(range(rank)) if axes is None else [axis_of(call, a, rank) for a in call.ints(axes, "axes")]
    number = float(call.get("value", 0.0)) if call.opset < 11 else 0 if value is None else call.number(value, "a value")
    if len(amounts) != 2 * len(places) or any(abs(amount) > LARGEST_SIZE for amount in amounts):
        call.refuse(f"with pads {amounts!r:.60}")
    sides = [(0, 0)] * rank
    for place, before, after in zip(places, amounts[: len(places)], amounts[len(places) :], strict=True):
        sides[place] = (before, after)
    for axis, (before, after) in enumerate(sides):
        x = cut(call, x, axis, max(-before, 0), x.type.shape[axis] - max(-after, 0))
    sides = [(max(before, 0), max(after, 0)) for before, after in sides]
    if not any(sum(side) for side in sides):
        return x
    if mode == "constant":
        befores, afters = zip(*sides, strict=True)
        return call.add(ops.Pad(before=befores, after=afters, value=float(number)), x)
    if mode not in ("edge", "reflect", "wrap"):
        call.refuse(f"with mode {mode!r:.40}")
    for axis, (before, after) in enumerate(sides):
        if before or after:
            x = _continued(call, x, axis, before, after, mode)
    return x


def _continued(call: Call, x: Value, axis: int, before: int, after: int, mode: str) -> Value:
    """x with its edge, its mirror image or itself at both ends of an axis."""
    size = x.type.shape[axis]
    if not isinstance(size, int) or size < 1 or before + size + after > 1 << 20:
        call.refuse(f"with mode {mode} along {size} elements")
    return taken(call, x, np.pad(np.arange(size), (before, after), mode=mode), axis)  # type: ignore[call-overload]


@imports("DepthToSpace")
def depth_to_space(call: Call, x: Value) -> Value:
    """Blocks of channels as blocks of pixels."""
    size, mode = call.get("blocksize", 0), call.get("mode", "DCR")
    n, c, h, w = x.type.dims("NCHW")
    if size < 1 or not isinstance(c, int) or c % (size * size) or mode not in ("DCR", "CRD"):
        call.refuse(f"of {c} channels in blocks of {size}, mode {mode!r:.20}")
    less = c // size**2
    if mode == "DCR":
        apart = call.transpose(call.reshape(x, n, size, size, less, h, w), 0, 3, 4, 1, 5, 2)
    else:
        apart = call.transpose(call.reshape(x, n, less, size, size, h, w), 0, 1, 4, 2, 5, 3)
    return call.reshape(apart, n, less, h * size, w * size)


@imports("SpaceToDepth")
def space_to_depth(call: Call, x: Value) -> Value:
    """Blocks of pixels as blocks of channels."""
    size = call.get("blocksize", 0)
    n, c, h, w = x.type.dims("NCHW")
    if size < 1 or not isinstance(h, int) or not isinstance(w, int) or h % size or w % size:
        call.refuse(f"of {h}x{w} in blocks of {size}")
    apart = call.transpose(call.reshape(x, n, c, h // size, size, w // size, size), 0, 3, 5, 1, 2, 4)
    return call.reshape(apart, n, c * (size * size), h // size, w // size)


@imports("Cast")
def cast(call: Call, x: Value) -> Value:
    """x in another element type."""
    code = call.get("to", 0)
    call.get("saturate", 1)  # of 8-bit floats, which we do not have
    call.get("round_mode", None)
    if code not in DTYPES:
        call.refuse(f"to type {code}")
    return call.cast(x, DTYPES[code])


@imports("CastLike")
def cast_like(call: Call, x: Value, target: Value) -> Value:
    """x in the element type of another tensor."""
    call.get("saturate", 1)
    call.get("round_mode", None)
    return call.cast(x, target.type.dtype)
