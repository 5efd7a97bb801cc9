"""Bounds that bytes have anyway."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dtype import Array
from alula.ir.graph import Graph, Node, Value
from alula.ops.elementwise import Clip, Mul, Relu
from alula.ops.quantize import LARGEST_BYTE, Quantize
from alula.passes.match import exact, made_by, operand_and_constant
from alula.passes.rewrite import RewritePass

INF = float("inf")


@dataclass(frozen=True)
class AbsorbBounds(RewritePass):
    """quantize(clip(x))  =>  quantize(x)   where what is beyond the bounds becomes the byte 0 or 255 all the same.

    So does what is below a relu where the byte 0 stands for 0.  A bound that bytes do not have stays by itself.  Also
    before a product with positive constants.
    """

    name: ClassVar[str] = "absorb-bounds"
    anchors: ClassVar = (Quantize,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        assert isinstance(node.op, Quantize)
        value, factors = node.inputs[0], np.ones(1)
        product = made_by(value, Mul)
        found = operand_and_constant(product) if product is not None and graph.sole_use(value) is node else None
        if found is not None:
            positive = exact(found[1])
            if positive is None or not np.all(positive > 0):
                return None
            value, factors = found[0], positive
        bounded = made_by(value, Relu, Clip)
        if bounded is None or graph.sole_use(value) is None:
            return None
        bounds = (bounded.op.low, bounded.op.high) if isinstance(bounded.op, Clip) else (0.0, INF)
        left = _left(node.op, factors, *bounds)
        if left == bounds != (-INF, INF):
            return None
        x = bounded.inputs[0] if left == (-INF, INF) else graph.add(Clip(*left), bounded.inputs[0])
        return graph.add(node.op, x if found is None else graph.add(Mul(), x, found[1]))


def _left(op: Quantize, factors: Array, low: float, high: float) -> tuple[float, float]:
    """The bounds that bytes of what is multiplied by `factors` do not have; infinities where they have them."""
    with np.errstate(all="ignore"):
        levels = [np.rint(bound * factors * op.factor + op.zero) for bound in (low, high)]
    return (-INF if np.all(levels[0] <= 0) else low, INF if np.all(levels[1] >= LARGEST_BYTE) else high)
