"""Resizing by tables: nearest by places, linear and cubic by places and shares for each axis."""

from __future__ import annotations

from collections.abc import Mapping

from alula.core.dims import dim_symbols
from alula.core.dtype import DType
from alula.frontends.call import GraphCall, channels_first, channels_last
from alula.frontends.moves import taken
from alula.frontends.symbols import BATCH
from alula.ir.graph import Value
from alula.ops.gather import Gather, Interpolate
from alula.ops.resize import ResizePlaces


def resized(call: GraphCall, x: Value, axes: Mapping[int, ResizePlaces]) -> Value:
    """x along each axis by its table; of a picture with the channels last, so that vectors run along them."""
    moved = {axis: plan for axis, plan in axes.items() if not _stays(plan)}
    if any(BATCH in dim_symbols(dim) for plan in moved.values() for dim in (plan.size, plan.wanted)):
        call.refuse("along the batch")  # a table has to be known before a program is made
    turned = bool(moved) and x.type.rank > 2 and min(moved) > 1
    y = channels_last(call, x) if turned else x
    for axis, plan in moved.items():
        y = _along(call, y, axis - 1 if turned else axis, plan)
    return channels_first(call, y) if turned else y


def _stays(plan: ResizePlaces) -> bool:
    """True where an axis stays what it is."""
    if plan.method == "nearest" and isinstance(plan.size, int) and isinstance(plan.wanted, int):
        return bool(plan.reference().tolist() == list(range(plan.size)))
    return plan.size == plan.wanted and plan.scale in (0, 1) and (plan.start, plan.end) == (0.0, 1.0)


def _along(call: GraphCall, x: Value, axis: int, plan: ResizePlaces) -> Value:
    """Tables of known sizes are constants."""
    known, nearest = isinstance(plan.size, int) and isinstance(plan.wanted, int), plan.method == "nearest"
    if known and nearest:
        return taken(call, x, plan.reference(), axis)
    if known:
        indices, shares = plan.table()
        tables = call.constant(indices, DType.I64), call.constant(shares, x.type.dtype)
        return call.add(Interpolate(axis=axis), x, *tables)
    places = call.graph.add(plan)
    if nearest:
        return call.add(Gather(axis=axis), x, places)
    return call.add(Interpolate(axis=axis), x, places, call.cast(call.graph.add(plan.shares()), x.type.dtype))
