"""Transposed convolutions, and windows added up: what the importers of all formats make of them."""

from __future__ import annotations

import numpy as np

from alula.frontends.call import GraphCall
from alula.frontends.moves import cut
from alula.ir.graph import Value
from alula.ir.types import fixed
from alula.ops import shape as op_shape
from alula.ops.elementwise import Add
from alula.ops.matmul import Linear, Matmul
from alula.ops.shape import Concat
from alula.ops.unfold import Fold
from alula.ops.windows import Pad, Pair, dilated, window_counts


def transposed(
    call: GraphCall,
    x: Value,
    weight: Value,
    bias: Value | None,
    groups: int,
    *,
    size: Pair,
    stride: Pair,
    pad: Pad,
    dilation: Pair,
) -> Value:
    """y[n,*size,o]: every pixel of x[n,h,w,c] times weight[c,o/groups,kh,kw], added up where the windows overlap."""
    n, h, w, c = x.type.shape
    channels, per_group, *edges = (fixed(dim, "weight size") for dim in weight.type.shape)
    if groups < 1 or channels % groups or channels != c:
        call.refuse(f"of {c} channels in {groups} groups with a weight {weight.type}")
    kernel = (edges[0], edges[1])
    spots, each = kernel[0] * kernel[1], channels // groups
    flat = call.reshape(weight, groups, each, per_group, spots)
    beside = groups == 1 and _side_by_side(x, size, kernel, stride, pad, dilation)
    repeated = None
    if beside and bias is not None and bias.data is not None:
        repeated, bias = call.graph.constant(np.tile(bias.data, spots), bias.name), None
    parts = []
    for group in range(groups):
        rows = call.reshape(cut(call, flat, 0, group, group + 1), each, per_group, spots)
        rows = call.reshape(call.transpose(rows, 2, 1, 0), spots * per_group, each)
        own = cut(call, x, 3, group * each, (group + 1) * each)
        if rows.is_constant and repeated is not None:
            spread = call.add(Linear(), own, rows, repeated)
        elif rows.is_constant:
            spread = call.add(Linear(), own, rows)
        else:
            spread = call.add(Matmul(), own, call.transpose(rows, 1, 0))
        windows = call.reshape(spread, n, h, w, spots, per_group)
        parts.append(folded(call, windows, size, kernel, stride, pad, dilation))
    y = parts[0] if len(parts) == 1 else call.add(Concat(axis=3), *parts)
    return y if bias is None else call.add(Add(), y, bias)


def folded(call: GraphCall, windows: Value, size: Pair, kernel: Pair, stride: Pair, pad: Pad, dilation: Pair) -> Value:
    """windows[n,h,w,kh*kw,c] added up over all they reach, then cut to y[n,*size,c]: beyond the last one it is zero.

    Windows that lie side by side are only moved.
    """
    n, h, w, _, c = windows.type.shape
    counts = (fixed(h, "height"), fixed(w, "width"))
    reach = dilated(kernel, dilation)
    whole = [(counts[i] - 1) * stride[i] + reach[i] for i in (0, 1)]
    if _side_by_side(windows, size, kernel, stride, pad, dilation):
        apart = call.reshape(windows, n, h, w, *kernel, c)
        return call.reshape(call.transpose(apart, 0, 1, 3, 2, 4, 5), n, *size, c)
    if (
        all(0 <= pad[i] < reach[i % 2] for i in range(4))
        and all(size[i] + pad[i] + pad[i + 2] >= reach[i] for i in (0, 1))
        and window_counts(*size, kernel, stride, pad, dilation) == counts
    ):
        return call.add(Fold(size=size, kernel=kernel, stride=stride, pad=pad, dilation=dilation), windows)
    op = Fold(size=(whole[0], whole[1]), kernel=kernel, stride=stride, pad=(0, 0, 0, 0), dilation=dilation)
    y = call.add(op, windows)
    beyond = [max(0, size[i] + pad[i] - whole[i]) for i in (0, 1)]
    if any(beyond):
        y = call.add(op_shape.Pad(before=(0, 0, 0, 0), after=(0, beyond[0], beyond[1], 0)), y)
    for i in (0, 1):
        y = cut(call, y, i + 1, pad[i], pad[i] + size[i])
    return y


def _side_by_side(x: Value, size: Pair, kernel: Pair, stride: Pair, pad: Pad, dilation: Pair) -> bool:
    """True where the windows of x[n,h,w,...] neither overlap nor leave room nor reach beyond `size`."""
    whole = (x.type.shape[1] * stride[0], x.type.shape[2] * stride[1])
    return stride == kernel == dilated(kernel, dilation) and pad == (0, 0, 0, 0) and size == whole
