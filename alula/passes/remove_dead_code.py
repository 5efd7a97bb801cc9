"""Dead code elimination."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alula.ir.graph import Graph, Node
from alula.passes.rewrite import Pass, remove_dead


@dataclass(frozen=True)
class RemoveDeadCode(Pass):
    """Nodes that no output of the graph depends on are taken out; inputs stay."""

    name: ClassVar[str] = "remove-dead-code"

    def run(self, graph: Graph) -> int:
        """How many nodes went."""
        removed = set[Node]()
        remove_dead(graph, list(graph.nodes), removed)
        return len(removed)
