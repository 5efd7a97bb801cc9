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
    axis = axis_of(dim, x.type.rank)
    values, places = call.graph.add_node(TopK(k=k, largest=largest), last_axis_of(call, x, axis)).outputs
    return last_axis_back(call, values, axis), last_axis_back(call, places, axis)
