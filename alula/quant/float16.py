"""Weights of linear layers and convolutions stored as float16; activations and arithmetic stay float32."""

from __future__ import annotations

import numpy as np

from alula.core.dtype import Array, DType
from alula.core.errors import UsageError
from alula.ir.graph import Graph, Value
from alula.ir.verifier import verify
from alula.ops.conv import Conv2d
from alula.ops.matmul import Linear

LARGEST = 65_504  # of float16


def store_float16(graph: Graph) -> None:
    """Every float32 weight rounded to the nearest float16, in place; biases and all other constants stay as they are.

    Raises UsageError naming a weight that float16 cannot hold.
    """
    stored: dict[Value, Value] = {}  # tied weights stay tied
    for node in list(graph.nodes):
        if not isinstance(node.op, Linear | Conv2d):
            continue
        x, weight, *bias = node.inputs
        if weight.data is None or weight.type.dtype is not DType.F32:
            continue
        if weight not in stored:
            stored[weight] = graph.constant(_rounded(weight.name or node.origin, weight.data), weight.name)
        with graph.before(node):
            output = graph.add(node.op, x, stored[weight], *bias)
        graph.replace(node.output, output)
        graph.remove(node)
    verify(graph)


def _rounded(name: str, weight: Array) -> Array:
    worst = float(weight.flat[int(np.argmax(np.abs(weight)))]) if weight.size else 0.0
    if not abs(worst) <= LARGEST:
        raise UsageError(f"float16 weight {name}: expected values of at most {LARGEST}, got {worst:g}")
    return weight.astype(np.float16)
