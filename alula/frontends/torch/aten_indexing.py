"""Importers of what reads or writes at places that are numbers of a tensor, and of what sorts."""

from __future__ import annotations

from alula.frontends.call import last_axis_back, last_axis_of
from alula.frontends.moves import cut
from alula.frontends.torch.call import Call, Number, Result, axis_of, imports
from alula.ir.graph import Value
from alula.ops.gather import Gather, Scatter
from alula.ops.shape import Expand
from alula.ops.sort import TopK

REDUCTIONS = {"sum": "add", "prod": "mul", "amax": "max", "amin": "min"}


@imports("aten.index_select.default")
def index_select(call: Call, x: Value, dim: int, indices: Value) -> Value:
    """x at the indices of an axis."""
    return call.add(Gather(axis=axis_of(dim, x.type.rank)), x, indices)


@imports("aten.embedding.default")
def embedding(call: Call, table: Value, indices: Value, *_: object) -> Value:
    """The rows of a table."""
    return call.add(Gather(axis=0), table, indices)


def _cut_to(call: Call, x: Value, indices: Value, axis: int | None) -> Value:
    """x as long as the indices along every axis but one."""
    for other, dim in enumerate(indices.type.shape):
        if other != axis:
            x = cut(call, x, other, 0, dim)
    return x


@imports("aten.gather.default")
def gather(call: Call, x: Value, dim: int, indices: Value, sparse_grad: bool = False) -> Value:
    """The element of x whose place along an axis is the index, and along the others that of the index."""
    axis, rank = axis_of(dim, x.type.rank), x.type.rank
    rows, places = (last_axis_of(call, value, axis) for value in (_cut_to(call, x, indices, axis), indices))
    return last_axis_back(call, call.add(Gather(axis=rank - 1, batch=rank - 1), rows, places), axis)


@imports("aten.scatter.src")
def scatter(call: Call, x: Value, dim: int, indices: Value, updates: Value) -> Value:
    """x with updates at the places along an axis that the indices name."""
    return _scattered(call, x, dim, indices, updates, "none")


@imports("aten.scatter.value")
def scatter_value(call: Call, x: Value, dim: int, indices: Value, value: Number) -> Value:
    """x with one number at the places along an axis that the indices name."""
    updates = call.add(Expand(shape=indices.type.shape), call.operand(value, x.type.dtype))
    return _scattered(call, x, dim, indices, updates, "none")


@imports("aten.scatter_add.default")
def scatter_add(call: Call, x: Value, dim: int, indices: Value, updates: Value) -> Value:
    """x with updates added at the places along an axis that the indices name."""
    return _scattered(call, x, dim, indices, updates, "add")


@imports("aten.scatter_reduce.two")
def scatter_reduce(
    call: Call, x: Value, dim: int, indices: Value, updates: Value, reduce: str, include_self: bool = True
) -> Value:
    """x combined with updates at the places along an axis that the indices name."""
    if not include_self or reduce not in REDUCTIONS:
        call.refuse(f"with reduce {reduce!r:.40}, include_self {include_self}")
    return _scattered(call, x, dim, indices, updates, REDUCTIONS[reduce])


def _scattered(call: Call, x: Value, dim: int, indices: Value, updates: Value, reduction: str) -> Value:
    rank = x.type.rank
    axis = axis_of(dim, rank)
    if any(n != axis and size != x.type.shape[n] for n, size in enumerate(indices.type.shape)):
        call.refuse(f"of {x.type} with indices {indices.type}")
    op = Scatter(axis=rank - 1, batch=rank - 1, reduction=reduction)
    moved = (last_axis_of(call, value, axis) for value in (x, indices, _cut_to(call, updates, indices, None)))
    return last_axis_back(call, call.add(op, *moved), axis)


@imports("aten.topk.default")
def top_k(call: Call, x: Value, k: int, dim: int = -1, largest: bool = True, sorted: bool = True) -> Result:
    """The largest or smallest elements along an axis in order, and where they are."""
    return _leaders(call, x, dim, k, largest=largest)


@imports("aten.sort.default")
def sort(call: Call, x: Value, dim: int = -1, descending: bool = False) -> Result:
    """All elements along an axis in order, and where they are."""
    return _leaders(call, x, dim, None, largest=descending)


@imports("aten.sort.stable")
def stable_sort(call: Call, x: Value, stable: bool | None = None, dim: int = -1, descending: bool = False) -> Result:
    """All elements along an axis in order, equal ones as they stand, and where they are."""
    return _leaders(call, x, dim, None, largest=descending)


@imports("aten.argmax.default")
def arg_max(call: Call, x: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    """Where the first largest element along an axis is."""
    return _arg(call, x, dim, largest=True)


@imports("aten.argmin.default")
def arg_min(call: Call, x: Value, dim: int | None = None, keepdim: bool = False) -> Value:
    """Where the first smallest element along an axis is."""
    return _arg(call, x, dim, largest=False)


def _arg(call: Call, x: Value, dim: int | None, *, largest: bool) -> Value:
    if dim is None:
        call.refuse("over all axes at once")
    _, places = _leaders(call, x, dim, 1, largest=largest)
    return call.reshape(places, *call.type.shape)


def _leaders(call: Call, x: Value, dim: int, k: int | None, *, largest: bool) -> tuple[Value, Value]:
    """The first k elements along an axis in order, all for None, and where they are."""
    axis = axis_of(dim, x.type.rank)
    line = last_axis_of(call, x, axis)
    size = line.type.shape[-1] if line.type.rank else 0
    if not isinstance(size, int) or size < 1:
        call.refuse(f"of an input {x.type}")
    values, places = call.graph.add_node(TopK(k=size if k is None else k, largest=largest), line).outputs
    return last_axis_back(call, values, axis), last_axis_back(call, places, axis)
