"""Scaling and shifting by constants that nothing else can take in, in as few steps as it can be done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dtype import Array
from alula.ir.graph import Graph, Node, Value
from alula.ops.elementwise import Add, Div, Mul, Sub
from alula.ops.norm import BatchNorm
from alula.passes.affine import affine_of
from alula.passes.match import made_by, rounded
from alula.passes.rewrite import RewritePass

STEPS = (Add, Sub, Mul, Div, BatchNorm)


@dataclass(frozen=True)
class MergeAffine(RewritePass):
    """(x * s + t) * m + u  =>  x * (s*m) + (t*m + u)   for constants, a number for all or for each channel.

    A batch_norm that no product takes in becomes such a product and sum: its square root and its quotient are constant.
    """

    name: ClassVar[str] = "merge-affine"
    anchors: ClassVar = STEPS

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        if (found := affine_of(node)) is None:
            return None
        (x, affine), nodes = found, [node]
        while (before := made_by(x, *STEPS)) is not None and graph.sole_use(x) is nodes[-1]:
            if (found := affine_of(before)) is None:
                break
            x, affine = found[0], found[1].then(affine)
            nodes.append(before)
        steps = [(op, part) for op, part in ((Mul(), affine.scale), (Add(), affine.shift)) if part is not None]
        if len(steps) >= len(nodes) and not any(isinstance(one.op, BatchNorm) for one in nodes):
            return None
        for op, part in steps:
            x = graph.add(op, x, _constant(graph, part, x))
        return x


def _constant(graph: Graph, values: Array, x: Value) -> Value:
    """A number for each channel of x, or the one number that all of them are."""
    return graph.constant(rounded(values[0] if np.all(values == values[0]) else values, x.type.dtype))
