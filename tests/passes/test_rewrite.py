from dataclasses import dataclass
from typing import ClassVar

import pytest

from alula.core.errors import GraphError
from alula.ir.graph import Graph, Node, Value
from alula.ops.elementwise import Abs, Neg, Relu
from alula.passes.rewrite import Pass, Repeat, RewritePass, run_verified
from tests.passes.graphs import Builder, N, counts


@dataclass(frozen=True)
class NegToAbs(RewritePass):
    """neg(x) => abs(x)"""

    name: ClassVar[str] = "neg-to-abs"
    anchors: ClassVar = (Neg,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        return graph.add(Abs(), node.inputs[0])


@dataclass(frozen=True)
class AbsToNeg(RewritePass):
    """abs(x) => neg(x)"""

    name: ClassVar[str] = "abs-to-neg"
    anchors: ClassVar = (Abs,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        return graph.add(Neg(), node.inputs[0])


@dataclass(frozen=True)
class AbsToAbs(RewritePass):
    """abs(x) => abs(x), for ever"""

    name: ClassVar[str] = "abs-to-abs"
    anchors: ClassVar = (Abs,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        return graph.add(Abs(), node.inputs[0])


@dataclass(frozen=True)
class Break(Pass):
    """Leaves a node whose type is wrong."""

    name: ClassVar[str] = "break"

    def run(self, graph: Graph) -> int:
        graph.nodes[0].output.type = graph.nodes[0].output.type.reshaped(5)
        return 1


def chain() -> Graph:
    b = Builder((N, 4))
    return b.finish(b(Relu(), b(Neg(), b(Neg(), b.inputs[0]))))


def test_every_match_is_rewritten_in_place_and_what_it_replaced_is_removed() -> None:
    graph = chain()
    assert run_verified(NegToAbs(), graph) == 2
    assert [node.op.name for node in graph.nodes] == ["abs", "abs", "relu"]
    assert run_verified(NegToAbs(), graph) == 0


def test_new_nodes_take_the_origin_of_the_node_they_replace() -> None:
    graph = chain()
    graph.nodes[0].origin = "features.0"
    NegToAbs().run(graph)
    assert [node.origin for node in graph.nodes] == ["features.0", "", ""]


def test_a_rule_that_feeds_itself_is_an_error() -> None:
    graph = chain()
    NegToAbs().run(graph)
    with pytest.raises(GraphError, match="pass abs-to-abs: expected an end within"):
        AbsToAbs().run(graph)


def test_passes_that_undo_each_other_are_an_error() -> None:
    with pytest.raises(GraphError, match="passes neg-to-abs, abs-to-neg: expected an end"):
        Repeat((NegToAbs(), AbsToNeg())).run(chain())


def test_a_graph_that_a_pass_breaks_is_refused_by_the_verifier() -> None:
    with pytest.raises(GraphError, match="pass break: neg node 0: expected"):
        Repeat((Break(),)).run(chain())


def test_repeat_ends_when_nothing_changes() -> None:
    graph = chain()
    assert Repeat((NegToAbs(),)).run(graph) == 2
    assert counts(graph) == {"abs": 2, "relu": 1}
