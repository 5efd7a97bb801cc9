"""What a pass is, and the driver that repeats a rewrite until nothing changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

from alula.core.errors import GraphError
from alula.ir.graph import Graph, Node, Value
from alula.ir.op import Op
from alula.ir.verifier import verify

LIMIT = 64  # rewrites per node of the graph before a pass counts as one that never ends


class Pass:
    """Base of all passes: changes a graph in place and says how often it did."""

    name: ClassVar[str]

    def run(self, graph: Graph) -> int:
        """How many changes were made; 0 where the graph is as this pass wants it."""
        raise TypeError(f"pass {self.name} has no run")


class RewritePass(Pass):
    """A rule for one node at a time.  `anchors` are the ops whose nodes it looks at; none means all."""

    anchors: ClassVar[tuple[type[Op], ...]] = ()

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        """What takes the place of the node's output; None leaves the node (and the graph) as it is."""
        raise TypeError(f"pass {self.name} has no rewrite")

    def run(self, graph: Graph) -> int:
        """Sweeps until one changes nothing.  Raises GraphError for a rule that feeds itself."""
        total, limit = 0, LIMIT * (len(graph.nodes) + LIMIT)
        while changes := self._sweep(graph):
            total += changes
            if total > limit:
                raise GraphError(f"pass {self.name}: expected an end within {limit} rewrites, got none")
        return total

    def _sweep(self, graph: Graph) -> int:
        changes, removed = 0, set[Node]()
        for node in list(graph.nodes):
            if node in removed or (self.anchors and not isinstance(node.op, self.anchors)):
                continue
            with graph.before(node):
                new = self.rewrite(node, graph)
            if new is not None:
                graph.replace(node.output, new)
                remove_dead(graph, [node], removed)
                changes += 1
        return changes


@dataclass(frozen=True)
class Repeat(Pass):
    """Passes that make work for each other: repeated in order until none changes anything."""

    name: ClassVar[str] = "repeat"
    passes: tuple[Pass, ...]

    def run(self, graph: Graph) -> int:
        """Raises GraphError, naming the pass, where one leaves a graph that the verifier refuses."""
        total = 0
        for _ in range(LIMIT):
            changes = sum(run_verified(step, graph) for step in self.passes)
            if not changes:
                return total
            total += changes
        raise GraphError(
            f"passes {', '.join(p.name for p in self.passes)}: expected an end in {LIMIT} rounds, got none"
        )


def run_verified(step: Pass, graph: Graph) -> int:
    """Run one pass and verify the graph if it changed.  Raises GraphError naming the pass."""
    changes = step.run(graph)
    if changes and not isinstance(step, Repeat):  # a Repeat has verified after each of its own
        try:
            verify(graph)
        except GraphError as error:
            raise GraphError(f"pass {step.name}: {error}") from None
    return changes


def remove_dead(graph: Graph, candidates: Iterable[Node], removed: set[Node]) -> None:
    """Remove those nodes that nothing uses, and then what only they used; `removed` collects them."""
    pending = list(candidates)
    while pending:
        node = pending.pop()
        if node in removed or any(graph.is_used(value) for value in node.outputs):
            continue
        graph.remove(node)
        removed.add(node)
        pending += [value.producer for value in node.inputs if value.producer is not None]
