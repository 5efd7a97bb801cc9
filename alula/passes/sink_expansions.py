"""Repetitions after the ops that would repeat by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alula.ir.graph import Graph, Node, Value
from alula.ir.op import infer_types
from alula.ops.elementwise import Binary
from alula.ops.logic import Where
from alula.ops.shape import Expand
from alula.passes.match import POINTWISE, made_by
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class SinkExpansions(RewritePass):
    """op(expand(x), y)  =>  op(x, y) where that has the same shape, else expand(op(x, y)) where y is constant.

    For elementwise ops, which broadcast.  So a mask that an exporter repeated for the batch is constant again.
    """

    name: ClassVar[str] = "sink-expansions"
    anchors: ClassVar = (*POINTWISE, Binary, Where)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        made = [made_by(value, Expand) for value in node.inputs]
        if not any(made):
            return None
        for place, expansion in enumerate(made):
            if expansion is not None:
                inputs = [expansion.inputs[0] if n == place else value for n, value in enumerate(node.inputs)]
                if infer_types(node.op, [value.type for value in inputs])[0] == node.output.type:
                    return graph.add(node.op, *inputs)
        if not all(value.is_constant or expansion for value, expansion in zip(node.inputs, made, strict=True)):
            return None
        plain = [value if e is None else e.inputs[0] for value, e in zip(node.inputs, made, strict=True)]
        return graph.add(Expand(node.output.type.shape), graph.add(node.op, *plain))
