"""Constant folding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.ir.graph import Graph, Node, Value
from alula.ops.reference import apply_op
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class FoldConstants(RewritePass):
    """op(constants)  =>  constant, unless it would be much larger than what it is made from (an expansion)."""

    name: ClassVar[str] = "fold-constants"
    growth: int = 2
    free_bytes: int = 4096

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        if not node.inputs or len(node.outputs) != 1 or not all(value.is_constant for value in node.inputs):
            return None
        size = node.output.type.bytes
        if not isinstance(size, int) or node.op != node.op.at(dict.fromkeys(graph.symbols, 1)):
            return None
        if size > self.free_bytes + self.growth * sum(
            value.data.nbytes for value in node.inputs if value.data is not None
        ):
            return None
        (result,) = apply_op(node.op, *(value.data for value in node.inputs if value.data is not None))
        name = next((value.name for value in node.inputs if value.name), "")
        return graph.constant(np.require(result, requirements="C"), name)
