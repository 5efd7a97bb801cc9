"""Importers of what only moves elements: views, transposes, slices, joins, repeats and padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alula.core.dims import Dim
from alula.frontends.moves import cut
from alula.frontends.torch.call import Call, Number, axis_of, imports
from alula.ir.graph import Value
from alula.ops.shape import Concat, Expand, Pad


@imports(
    *("aten.view.default", "aten._unsafe_view.default", "aten.unsqueeze.default"),
    *("aten.squeeze.default", "aten.squeeze.dim", "aten.squeeze.dims"),
)
def reshape(call: Call, x: Value, *_: Any) -> Value:
    """x in the result's shape, which PyTorch has worked out."""
    return call.reshape(x, *call.type.shape)


@imports("aten.permute.default")
def permute(call: Call, x: Value, dims: Sequence[int]) -> Value:
    """x with its axes in the order `dims`."""
    return call.transpose(x, *(axis_of(dim, x.type.rank) for dim in dims))


@imports("aten.transpose.int")
def transpose(call: Call, x: Value, first: int, second: int) -> Value:
    """x with two axes swapped."""
    perm = list(range(x.type.rank))
    if perm:
        a, b = axis_of(first, len(perm)), axis_of(second, len(perm))
        perm[a], perm[b] = perm[b], perm[a]
    return call.transpose(x, *perm)


@imports("aten.t.default")
def reverse_axes(call: Call, x: Value) -> Value:
    """x with its axes in reverse order."""
    return call.transpose(x, *reversed(range(x.type.rank)))


@imports("aten.expand.default")
def expand(call: Call, x: Value, *_: Any, implicit: bool = False) -> Value:
    """x broadcast to the result's shape."""
    return broadcast(call, x, *call.type.shape)


def broadcast(call: Call, x: Value, *shape: Dim) -> Value:
    """x broadcast to `shape`."""
    return x if x.type.shape == shape else call.add(Expand(shape=shape), x)


@imports("aten.repeat.default")
def repeat(call: Call, x: Value, repeats: Sequence[Dim]) -> Value:
    """x repeated along its axes, new ones first."""
    shape = (*[1] * (len(repeats) - x.type.rank), *x.type.shape)
    apart = [dim for size in shape for dim in (1, size)]
    tiled = [dim for times, size in zip(repeats, shape, strict=True) for dim in (times, size)]
    return call.reshape(broadcast(call, call.reshape(x, *apart), *tiled), *call.type.shape)


@imports("aten.slice.Tensor")
def slice_(
    call: Call, x: Value, dim: int = 0, start: Dim | None = None, end: Dim | None = None, step: int = 1
) -> Value:
    """x[start:end:step] along an axis; negative ends count from the back, ends outside are clamped."""
    axis = axis_of(dim, x.type.rank)
    size = x.type.shape[axis]
    first = _clamped(0 if start is None else start, size)
    return cut(call, x, axis, first, _clamped(size if end is None else end, size), step)


def _clamped(index: Dim, size: Dim) -> Dim:
    if not isinstance(index, int):
        return index
    if not isinstance(size, int):
        return size if index >= 1 << 62 else index if index >= 0 else size + index
    return min(max(index + size if index < 0 else index, 0), size)


@imports("aten.select.int")
def select(call: Call, x: Value, dim: int, index: Dim) -> Value:
    """x at one index of an axis, which goes."""
    axis = axis_of(dim, x.type.rank)
    size = x.type.shape[axis]
    start = size + index if isinstance(index, int) and index < 0 else index
    shape = (*x.type.shape[:axis], *x.type.shape[axis + 1 :])
    return call.reshape(cut(call, x, axis, start, start + 1), *shape)


@imports("aten.unbind.int")
def unbind(call: Call, x: Value, dim: int = 0) -> Sequence[Value]:
    """x at each index of an axis, which goes."""
    return [select(call, x, dim, index) for index in range(len(call.types))]


@imports("aten.split.Tensor", "aten.split_with_sizes.default")
def split(call: Call, x: Value, sizes: Any, dim: int = 0) -> Sequence[Value]:
    """x in pieces along an axis, whose sizes PyTorch has worked out."""
    axis = axis_of(dim, x.type.rank)
    start: Dim = 0
    pieces = []
    for piece in call.types:
        stop = start + piece.shape[axis]
        pieces.append(cut(call, x, axis, start, stop))
        start = stop
    return pieces


@imports("aten.cat.default")
def concatenate(call: Call, tensors: Sequence[Value], dim: int = 0) -> Value:
    """The tensors one after the other along an axis; PyTorch lets empty ones of rank 1 stand for nothing."""
    kept = [tensor for tensor in tensors if tensor.type.shape != (0,) or call.type.rank == 1]
    return join(call, kept, axis_of(dim, call.type.rank))


@imports("aten.stack.default")
def stack(call: Call, tensors: Sequence[Value], dim: int = 0) -> Value:
    """The tensors one after the other along a new axis."""
    axis = axis_of(dim, call.type.rank)
    shape = tensors[0].type.shape
    return join(call, [call.reshape(tensor, *shape[:axis], 1, *shape[axis:]) for tensor in tensors], axis)


def join(call: Call, tensors: Sequence[Value], axis: int) -> Value:
    """The tensors, cast to the result's element type, one after the other along `axis`."""
    same = [call.cast(tensor, call.type.dtype) for tensor in tensors]
    return same[0] if len(same) == 1 else call.add(Concat(axis=axis), *same)


@imports("aten.roll.default")
def roll(call: Call, x: Value, shifts: Sequence[int] | int, dims: Sequence[int] | int = ()) -> Value:
    """x with its ends moved round along axes."""
    steps = [shifts] if isinstance(shifts, int) else shifts
    axes = [dims] if isinstance(dims, int) else dims
    if not axes:
        call.refuse("without axes")
    for step, dim in zip(steps, axes, strict=True):
        axis = axis_of(dim, x.type.rank)
        size = x.type.shape[axis]
        if not isinstance(size, int):
            call.refuse("along the batch")
        at = -step % size if size else 0
        if at:
            x = join(call, [cut(call, x, axis, at, size), cut(call, x, axis, 0, at)], axis)
    return x


@imports("aten.constant_pad_nd.default")
def constant_pad(call: Call, x: Value, pad: Sequence[int], value: Number = 0) -> Value:
    """x with `value` around it; pad is (before, after) of the last axis, then of the one before; below 0 it crops."""
    if not all(isinstance(amount, int) for amount in pad):
        call.refuse("by sizes that depend on the batch")
    rank = x.type.rank
    amounts = [(0, 0)] * (rank - len(pad) // 2) + list(zip(pad[-2::-2], pad[-1::-2], strict=True))
    for axis, (before, after) in enumerate(amounts):
        x = cut(call, x, axis, max(-before, 0), x.type.shape[axis] - max(-after, 0))
    befores = tuple(max(before, 0) for before, _ in amounts)
    afters = tuple(max(after, 0) for _, after in amounts)
    return call.add(Pad(before=befores, after=afters, value=float(value)), x) if any(befores + afters) else x


@imports("aten.pad.default")
def pad(call: Call, x: Value, pad: Sequence[int], mode: str = "constant", value: Number | None = None) -> Value:
    """x with a constant around it."""
    if mode != "constant":
        call.refuse(f"with mode {mode}")
    return constant_pad(call, x, pad, value or 0)
