"""The normalisation of a picture inside the convolution that takes it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from alula.core.dtype import Array
from alula.ir.graph import Graph, Node, Value
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Add, Div, Mul, Normalize, Sub
from alula.ops.shape import Transpose
from alula.passes.match import exact, made_by, operand_and_constant
from alula.passes.rewrite import RewritePass

Perm = tuple[int, ...]


@dataclass(frozen=True)
class FoldInputNormalisation(RewritePass):
    """conv2d(x * s[c] + t[c])  =>  conv2d(x){scale=s, shift=t}, for a normalize or arithmetic on a graph's input.

    The convolution pads with zeros after it has scaled and shifted, so its border stays exact.  Transposes in between
    are kept.
    """

    name: ClassVar[str] = "fold-input-normalisation"
    anchors: ClassVar = (Conv2d,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        match node.op:
            case Conv2d(scale=()) as conv:
                found = _normalised(node.inputs[0])
            case _:
                return None
        if found is None:
            return None
        x, perm, scale, shift = found
        if not made_by(node.inputs[0], Normalize) and x not in graph.inputs:
            return None
        turned = x if perm == tuple(range(len(perm))) else graph.add(Transpose(perm), x)
        op = replace(conv, scale=tuple(scale.tolist()), shift=tuple(shift.tolist()))
        return graph.add(op, turned, *node.inputs[1:])


def _normalised(value: Value) -> tuple[Value, Perm, Array, Array] | None:
    """x, a transpose, scale and shift: `value` is x transposed, then scaled and shifted along its last axis."""
    c, perm = value.type.shape[-1], tuple(range(value.type.rank))
    if not isinstance(c, int):
        return None
    scale, shift, steps = np.ones(c), np.zeros(c), 0
    while (node := value.producer) is not None:
        match node.op:
            case Transpose(perm=turn):
                value, perm = node.inputs[0], tuple(turn[axis] for axis in perm)
                continue
            case Normalize(scale=factors, shift=offsets) if perm[-1] == len(perm) - 1:
                value, step = node.inputs[0], (np.array(factors), np.array(offsets))
            case Add() | Sub() | Mul() | Div():
                found = operand_and_constant(node)
                vector = _along(found[1], perm, c) if found else None
                done = _step(node, found[0], vector) if found and vector is not None else None
                if found is None or done is None:
                    break
                value, step = found[0], done
            case _:
                break
        shift, scale, steps = shift + scale * step[1], scale * step[0], steps + 1
    return (value, perm, scale, shift) if steps else None


def _step(node: Node, x: Value, vector: Array) -> tuple[Array, Array] | None:
    first = x is node.inputs[0]
    match node.op:
        case Add():
            return np.ones_like(vector), vector
        case Sub():
            return (np.ones_like(vector), -vector) if first else (-np.ones_like(vector), vector)
        case Mul():
            return vector, np.zeros_like(vector)
    return (1 / vector, np.zeros_like(vector)) if first and np.all(vector != 0) else None


def _along(constant: Value, perm: Perm, c: int) -> Array | None:
    """The constant as one number per channel, the axis that `perm` puts last; None where it has more."""
    values = exact(constant)
    if values is None or values.ndim > len(perm):
        return None
    padded = values.reshape((1,) * (len(perm) - values.ndim) + values.shape).transpose(perm)
    if padded.size not in (1, c) or padded.shape[-1] != padded.size:
        return None
    return np.broadcast_to(padded.reshape(-1), (c,)).copy()
