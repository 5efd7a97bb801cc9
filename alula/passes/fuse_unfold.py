"""Windows that were gathered, row by row and column by column, as one op."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dtype import DType
from alula.ir.graph import Graph, Node, Value
from alula.ops.gather import Gather
from alula.ops.shape import Pad, Reshape, Transpose
from alula.ops.unfold import Unfold
from alula.ops.windows import dilated, window_counts
from alula.passes.match import made_by
from alula.passes.rewrite import RewritePass

TO_NHWC, FROM_WINDOWS = (0, 2, 3, 1), (0, 5, 3, 1, 4, 2)  # [n,oh,ow,kh,kw,c] -> [n,c,kh,oh,kw,ow]


@dataclass(frozen=True)
class FuseUnfold(RewritePass):
    """gather(gather(pad(x), rows[kh,oh]), columns[kw,ow])  =>  unfold(x), where both count windows of x[n,c,h,w].

    So exporters to ONNX write PyTorch's unfold: rows[i,j] = i * dilation + j * stride.
    """

    name: ClassVar[str] = "fuse-unfold"
    anchors: ClassVar = (Gather,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        inner = made_by(node.inputs[0], Gather)
        if node.op != Gather(4) or inner is None or inner.op != Gather(2) or inner.inputs[0].type.rank != 4:
            return None
        rows, columns = _windows(inner.inputs[1]), _windows(node.inputs[1])
        if rows is None or columns is None:
            return None
        (kh, down, dh), (kw, across, dw) = rows, columns
        kernel, stride, dilation = (kh, kw), (down, across), (dh, dw)
        picture, pad = inner.inputs[0], (0, 0, 0, 0)
        if (around := made_by(picture, Pad)) is not None and isinstance(around.op, Pad):
            sides = (*around.op.before, *around.op.after)
            reach = dilated(kernel, dilation)
            inside = (sides[2], sides[3], sides[6], sides[7])
            if not any(sides[:2] + sides[4:6]) and around.op.value == 0 and _fits(inside, reach):
                picture, pad = around.inputs[0], inside
        n, c, h, w = picture.type.shape
        oh, ow = (gather.inputs[1].type.shape[1] for gather in (inner, node))
        if picture.type.dtype is DType.BOOL or not isinstance(h, int) or not isinstance(w, int):
            return None
        if window_counts(h, w, kernel, stride, pad, dilation) != (oh, ow):
            return None
        windows = graph.add(Unfold(kernel, stride, pad, dilation), graph.add(Transpose(TO_NHWC), picture))
        apart = graph.add(Reshape((n, oh, ow, kh, kw, c)), windows)
        return graph.add(Transpose(FROM_WINDOWS), apart)


def _fits(pad: tuple[int, int, int, int], reach: tuple[int, int]) -> bool:
    return all(0 <= edge < reach[i % 2] for i, edge in enumerate(pad))


def _windows(indices: Value) -> tuple[int, int, int] | None:
    """(places, stride, dilation) of the windows that constant indices [places, windows] count; None for others."""
    if indices.data is None or indices.data.ndim != 2 or not indices.data.size:
        return None
    data = indices.data.astype(np.int64)
    places, count = data.shape
    stride = int(data[0, 1] - data[0, 0]) if count > 1 else 1
    dilation = int(data[1, 0] - data[0, 0]) if places > 1 else 1
    wanted = np.arange(places)[:, None] * dilation + np.arange(count) * stride
    return (places, stride, dilation) if min(stride, dilation) > 0 and np.array_equal(data, wanted) else None
