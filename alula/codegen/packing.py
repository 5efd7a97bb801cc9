"""Weights in the layout that the kernels of a target read: the one pass that depends on the target."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from alula.codegen.kernels.tile import panel_width
from alula.core.dtype import Array, DType
from alula.core.errors import CodegenError
from alula.core.target import CpuTarget
from alula.ir.graph import Graph, Node, Value
from alula.ir.types import fixed
from alula.ir.verifier import verify
from alula.ops.conv import Conv2d, whole_groups
from alula.ops.matmul import Linear, group_of, unpacked


def pack_weights(graph: Graph, target: CpuTarget) -> None:
    """Every linear and conv2d gets its weight in panels of the target's width; those packed otherwise are repacked.

    Raises CodegenError for a weight that is not constant.
    """
    packed: dict[tuple[Value, int], Value] = {}  # tied weights stay tied
    for node in list(graph.nodes):
        if isinstance(node.op, Linear | Conv2d) and node.op.panel != panel_width(target):
            _pack(graph, node, panel_width(target), packed)
    verify(graph)


def _pack(graph: Graph, node: Node, panel: int, packed: dict[tuple[Value, int], Value]) -> None:
    x, weight, *bias = node.inputs
    if weight.data is None:
        raise CodegenError(f"{node.op.name} {node.origin}: expected a constant weight, got one computed at run time")
    op = node.op
    assert isinstance(op, Linear | Conv2d)
    groups = op.groups if isinstance(op, Conv2d) else 1
    key = (weight, groups)
    if key not in packed:
        arrays = [panels(part, panel) for part in plain_groups(op, weight.data)]
        packed[key] = graph.constant(np.stack(arrays) if isinstance(op, Conv2d) else arrays[0], weight.name)
    if isinstance(op, Conv2d):
        kernel = op.kernel if op.panel else (weight.data.shape[1], weight.data.shape[2])
        features = op.features or weight.data.shape[0]
        new: Conv2d | Linear = replace(op, features=features, kernel=kernel, panel=panel)
    else:
        new = replace(op, features=op.features or fixed(weight.type.shape[0], "feature count"), panel=panel)
    with graph.before(node):
        output = graph.add(new, x, packed[key], *bias)
    graph.replace(node.output, output)
    graph.remove(node)


def plain_groups(op: Linear | Conv2d, weight: Array) -> list[Array]:
    """The weight of each group as [features, k], channels in whole groups of the packed layout."""
    if isinstance(op, Linear):
        return [unpacked(weight, op.features) if op.panel else weight]
    if op.panel:
        return [unpacked(group, op.features // op.groups) for group in weight]
    features, kh, kw, c = weight.shape
    rows, whole = features // op.groups, whole_groups(c, DType.of(weight))
    wide = np.zeros((features, kh, kw, whole), weight.dtype)
    wide[..., :c] = weight
    return [wide[g * rows : (g + 1) * rows].reshape(rows, -1) for g in range(op.groups)]


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
