"""Per-channel scale and shift of an op's input or output, moved into its constants (in float64, rounded once)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import numpy as np

from alula.core.dtype import Array
from alula.ir.graph import Graph, Node, Value
from alula.ops.conv import Conv2d
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.elementwise import Add, Div, Mul, Sub
from alula.ops.matmul import Linear
from alula.ops.norm import BatchNorm, LayerNorm
from alula.passes.match import exact, operand_and_constant, rounded


@dataclass(frozen=True)
class Affine:
    """x * scale + shift along the last axis: float64 arrays of as many elements, or None for 1 and 0."""

    scale: Array | None
    shift: Array | None

    def then(self, second: Affine) -> Affine:
        """What both do, one after the other."""
        scales = [part for part in (self.scale, second.scale) if part is not None]
        shifted = self.shift if self.shift is None or second.scale is None else self.shift * second.scale
        shifts = [part for part in (shifted, second.shift) if part is not None]
        return Affine(np.prod(scales, axis=0) if scales else None, np.sum(shifts, axis=0) if shifts else None)


def affine_of(node: Node) -> tuple[Value, Affine] | None:
    """x and what is done to it: by a batch_norm, or an add, sub, mul or div with a constant per channel or scalar."""
    if isinstance(node.op, BatchNorm):
        gamma, beta, mean, var = (exact(value) for value in node.inputs[1:])
        if gamma is None or beta is None or mean is None or var is None:
            return None
        scale = gamma / np.sqrt(var + node.op.eps)
        return node.inputs[0], Affine(scale, beta - mean * scale)
    found = operand_and_constant(node) if isinstance(node.op, Add | Sub | Mul | Div) else None
    vector = _channels(*found) if found else None
    if found is None or vector is None:
        return None
    x, first = found[0], found[0] is node.inputs[0]
    match node.op:
        case Add():
            return x, Affine(None, vector)
        case Mul():
            return x, Affine(vector, None)
        case Sub():
            return x, Affine(None, -vector) if first else Affine(np.full_like(vector, -1), vector)
    return (x, Affine(1 / vector, None)) if first and np.all(vector != 0) else None


def rescaled(graph: Graph, node: Node, affine: Affine) -> Value | None:
    """op(x) * scale + shift as the same op with other constants; None where it has none to take them."""
    if not all(value.is_constant for value in node.inputs[1:]):
        return None
    x, *constants = node.inputs
    match node.op:
        case Linear(panel=0) | Conv2d(panel=0):
            weight = _times_rows(graph, constants[0], affine.scale)
            bias = _shifted(graph, constants[1] if len(constants) > 1 else None, constants[0], affine)
            return graph.add(node.op, x, weight, *bias)
        case LayerNorm() | BatchNorm():
            gamma, beta, *statistics = constants
            scaled = gamma if affine.scale is None else _constant(graph, _exact(gamma) * affine.scale, gamma)
            return graph.add(node.op, x, scaled, *_shifted(graph, beta, gamma, affine), *statistics)
    return None


def prescaled(graph: Graph, node: Node, x: Value, affine: Affine) -> Value | None:
    """op(x * scale + shift) as the same op of x with other constants; None where its zero padding forbids it."""
    if not all(value.is_constant for value in node.inputs[1:]):
        return None
    weight, *bias = node.inputs[1:]
    match node.op:
        case Linear(panel=0):
            groups = 1
        case Conv2d(panel=0, scale=(), groups=groups, pad=pad):
            if affine.shift is not None and any(pad):
                return None
        case DepthwiseConv2d() if affine.scale is not None and affine.shift is None:
            return graph.add(node.op, x, _constant(graph, _exact(weight) * affine.scale, weight), *bias)
        case _:
            return None
    w = _exact(weight)
    per_row = [_per_row(vector, w, groups) for vector in (affine.scale, affine.shift)]
    new = weight if per_row[0] is None else _constant(graph, w * per_row[0], weight)
    if per_row[1] is not None:
        added = (w * per_row[1]).sum(tuple(range(1, w.ndim)))
        bias = _shifted(graph, bias[0] if bias else None, weight, Affine(None, added))
    return graph.add(node.op, x, new, *bias)


def _channels(x: Value, constant: Value) -> Array | None:
    """The constant as one number per element of x's last axis; None where it differs along another."""
    values, c = exact(constant), x.type.shape[-1] if x.type.shape else None
    if values is None or not isinstance(c, int) or values.size not in (1, c):
        return None
    if values.size != 1 and values.shape[-1] != c:
        return None
    return np.broadcast_to(values.reshape(-1), (c,)).copy()


def _per_row(vector: Array | None, w: Array, groups: int) -> Array | None:
    """A vector of the input's channels, to be multiplied with a weight[o,...,c/groups]."""
    if vector is None:
        return None
    rows = np.repeat(vector.reshape(groups, -1), w.shape[0] // groups, axis=0)
    return rows.reshape(w.shape[0], *(1,) * (w.ndim - 2), w.shape[-1])


def _times_rows(graph: Graph, weight: Value, scale: Array | None) -> Value:
    if scale is None:
        return weight
    w = _exact(weight)
    return _constant(graph, w * scale.reshape(-1, *(1,) * (w.ndim - 1)), weight)


def _shifted(graph: Graph, bias: Value | None, like: Value, affine: Affine) -> list[Value]:
    """The new bias, or none where there is still nothing to add."""
    if bias is None:
        return [] if affine.shift is None else [_constant(graph, affine.shift, like)]
    values = _exact(bias)
    if affine.scale is not None:
        values = values * affine.scale
    return [_constant(graph, values if affine.shift is None else values + affine.shift, bias)]


def _constant(graph: Graph, values: Array, like: Value) -> Value:
    return graph.constant(rounded(values, like.type.dtype), like.name)


def _exact(value: Value) -> Array:
    return cast(Array, exact(value))
