"""Concatenations that begin with another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alula.ir.graph import Graph, Node, Value
from alula.ops.shape import Concat
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class ShareConcats(RewritePass):
    """concat(a, b, c)  =>  concat(concat(a, b), c), where concat(a, b) is there already.

    A dense block concatenates all that came before at every layer; so each layer adds to what the one before it made.
    """

    name: ClassVar[str] = "share-concats"
    anchors: ClassVar = (Concat,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        if (first := _beginning(node, graph)) is None:
            return None
        return graph.add(node.op, first.output, *node.inputs[len(first.inputs) :])


def _beginning(node: Node, graph: Graph) -> Node | None:
    """The longest concatenation before the node whose operands are its first ones."""
    others = [
        user
        for user in dict.fromkeys(node.inputs[0].uses)
        if user.op == node.op
        and 1 < len(user.inputs) < len(node.inputs)
        and node.inputs[: len(user.inputs)] == user.inputs
        and graph.nodes.index(user) < graph.nodes.index(node)
    ]
    return max(others, key=lambda other: len(other.inputs), default=None)
