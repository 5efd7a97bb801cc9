"""Weights in the layout that the kernels of a target read: the one pass that depends on the target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from alula.codegen.kernels.matrix import TILE_WORDS
from alula.codegen.kernels.tile import panel_width
from alula.core.dtype import Array, DType
from alula.core.errors import CodegenError
from alula.core.target import CpuTarget
from alula.ir.graph import Graph, Node, Value
from alula.ir.verifier import verify
from alula.ops.conv import Conv2d, whole_groups
from alula.ops.depthwise import DepthwiseConv2d, packed_taps
from alula.ops.matmul import Linear, group_of, unpacked

MOST_FILLED = 2.5  # times the columns of a kernel: matrix tiles are four times as fast as vectors


def pack_weights(graph: Graph, target: CpuTarget) -> None:
    """Every linear and conv2d gets its weight in the layout of the target; those packed otherwise are repacked.

    Depthwise ones of bytes have one layout for all targets.
    Raises CodegenError for a weight that is not constant.
    """
    packed: dict[tuple[Value, int], Value] = {}  # tied weights stay tied
    for node in list(graph.nodes):
        if isinstance(node.op, DepthwiseConv2d):
            _pack_depthwise(graph, node)
        if not isinstance(node.op, Linear | Conv2d):
            continue
        x, weight, *bias = node.inputs
        op, plain = plain_form(node.op, _constant(node))
        if isinstance(op, Conv2d):
            op, plain = filled_up(op, plain, target)
        new = packed_form(op, plain, panel_width(target))
        if new == node.op:
            continue
        key = (weight, op.groups if isinstance(op, Conv2d) else 1)
        if key not in packed:
            packed[key] = graph.constant(packed_weight(op, plain, new.panel), weight.name)
        with graph.before(node):
            output = graph.add(new, x, packed[key], *bias)
        graph.replace(node.output, output)
        graph.remove(node)
    verify(graph)


def _pack_depthwise(graph: Graph, node: Node) -> None:
    op, (x, weight, *_) = node.op, node.inputs
    assert isinstance(op, DepthwiseConv2d)
    if op.taps or weight.type.dtype is not DType.I16:
        return
    plain = _constant(node)
    with graph.before(node):
        output = graph.add(replace(op, taps=len(plain)), x, graph.constant(packed_taps(plain), weight.name))
    graph.replace(node.output, output)
    graph.remove(node)


def _constant(node: Node) -> Array:
    weight = node.inputs[1].data
    if weight is None:
        raise CodegenError(f"{node.op.name} {node.origin}: expected a constant weight, got one computed at run time")
    return weight


def plain_form(op: Linear | Conv2d, weight: Array) -> tuple[Linear | Conv2d, Array]:
    """The op and its weight as they were before they were packed, but for channels up to whole groups."""
    if not op.panel:
        return op, weight
    if isinstance(op, Linear):
        return replace(op, features=0, panel=0), unpacked(weight, op.features)
    rows = np.concatenate([unpacked(group, op.features // op.groups) for group in weight])
    columns, (top, left, bottom, right) = op.kernel[1] - op.spare, op.pad
    plain = rows.reshape(op.features, *op.kernel, -1)[:, :, :columns]
    pad = (top, left, bottom, right - op.spare)
    return replace(op, features=0, kernel=(0, 0), panel=0, spare=0, pad=pad), plain


def filled_up(op: Conv2d, weight: Array, target: CpuTarget) -> tuple[Conv2d, Array]:
    """The same convolution whose kernel has columns of zeros to its right, so that its rows are whole matrix tiles.

    As it is where they are already, and where vectors are as good.
    """
    dtype = DType.of(weight)
    if not target.matrix or op.groups > 1 or op.dilation[1] > 1 or group_of(dtype) == 1:
        return op, weight
    columns, words = weight.shape[2], whole_groups(weight.shape[3], dtype) // group_of(dtype)
    more = next(n for n in range(TILE_WORDS) if (columns + n) * words % TILE_WORDS == 0)
    if columns + more > MOST_FILLED * columns:
        return op, weight
    top, left, bottom, right = op.pad
    wide = np.pad(weight, ((0, 0), (0, 0), (0, more), (0, 0)))
    return replace(op, pad=(top, left, bottom, right + more), spare=more), wide


def packed_form(op: Linear | Conv2d, plain: Array, panel: int) -> Linear | Conv2d:
    """The op for the weight in panels."""
    if isinstance(op, Linear):
        return replace(op, features=plain.shape[0], panel=panel)
    return replace(op, features=plain.shape[0], kernel=(plain.shape[1], plain.shape[2]), panel=panel)


def packed_weight(op: Linear | Conv2d, plain: Array, panel: int) -> Array:
    """The weight in panels; of a convolution, those of each group."""
    if isinstance(op, Linear):
        return panels(plain, panel)
    features, kh, kw, c = plain.shape
    rows, whole = features // op.groups, whole_groups(c, DType.of(plain))
    wide = np.zeros((features, kh, kw, whole), plain.dtype)
    wide[..., :c] = plain
    return np.stack([panels(wide[g * rows : (g + 1) * rows].reshape(rows, -1), panel) for g in range(op.groups)])


def panels(weight: Array, panel: int) -> Array:
    """[n,k] -> [ceil(n/panel),k/g,panel,g], as `Linear` says, the rest of the last panel zero."""
    (n, k), group = weight.shape, group_of(DType.of(weight))
    if k % group:
        raise CodegenError(f"weight {DType.of(weight)}[{n},{k}]: expected an inner size that is a multiple of {group}")
    count = -(-n // panel)
    padded = np.zeros((count * panel, k), weight.dtype)
    padded[:n] = weight
    packed = np.ascontiguousarray(padded.reshape(count, panel, k // group, group).transpose(0, 2, 1, 3))
    return packed if group > 1 else packed.reshape(count, k, panel)
