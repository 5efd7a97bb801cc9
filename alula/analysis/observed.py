"""What the compiled program of a graph makes: the values that its kernels write, in parts that fit into memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from alula.codegen.groups import group_nodes
from alula.compiler import compiled_run
from alula.core.dtype import Array
from alula.ir.graph import Graph, Value
from alula.ir.parts import in_parts
from alula.passes.remove_dead_code import RemoveDeadCode


def written(graph: Graph) -> list[Value]:
    """The values that kernels write, in order; those between them never leave the registers."""
    return [value for group in group_nodes(graph) for value in group.nodes[-1].outputs]


def observed(graph: Graph, inputs: Sequence[Array]) -> Iterator[tuple[Value, Array]]:
    """The values of `written`, from programs that have some of them as outputs.

    A kernel's value becomes an output of the program, and its kernel stays what it is.
    """
    for part in in_parts(written(graph), dict.fromkeys(graph.symbols, len(inputs[0]))):
        watched, copies = graph.copied()
        watched.outputs = [(f"value{number}", copies[value]) for number, value in enumerate(part)]
        RemoveDeadCode().run(watched)
        yield from zip(part, compiled_run(watched)(inputs), strict=True)
