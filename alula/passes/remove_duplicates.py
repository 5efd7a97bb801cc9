"""Common-subexpression elimination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from alula.ir.graph import Graph, Node, Value
from alula.passes.rewrite import Pass, remove_dead


@dataclass(frozen=True)
class RemoveDuplicates(Pass):
    """op(x), op(x)  =>  op(x) once.  Constants are equal where they are one value, or small and of equal bytes."""

    name: ClassVar[str] = "remove-duplicates"
    compared_bytes: int = 256

    def run(self, graph: Graph) -> int:
        """How many nodes went."""
        kept: dict[Any, Node] = {}
        removed = set[Node]()
        for node in list(graph.nodes):
            first = kept.setdefault((node.op, print_key(node), *map(self._key, node.inputs)), node)
            if first is not node:
                for old, new in zip(node.outputs, first.outputs, strict=True):
                    graph.replace(old, new)
                remove_dead(graph, [node], removed)
        return len(removed)

    def _key(self, value: Value) -> Any:
        if value.data is None or value.data.nbytes > self.compared_bytes:
            return value
        return value.type, value.data.tobytes()


def print_key(node: Node) -> str:
    """What tells attributes apart that compare equal: 0.0 and -0.0."""
    return repr(node.op)
