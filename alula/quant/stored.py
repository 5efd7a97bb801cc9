"""What is rounded before it is multiplied again anyway is stored in two bytes: half of what is written and read."""

from __future__ import annotations

from collections.abc import Iterable

from alula.ir.graph import Graph, Node, Value
from alula.ir.op import Op
from alula.ir.verifier import verify
from alula.ops import elementwise as ops
from alula.ops.quantize import Quantize
from alula.ops.reduce import ReduceMean
from alula.ops.shape import Concat
from alula.passes.hoist_narrowing import VIEWS, HoistNarrowing
from alula.passes.remove_duplicates import RemoveDuplicates
from alula.passes.rewrite import Repeat
from alula.quant.bfloat16 import NARROW
from alula.quant.int8 import WIDEN

MOVES: tuple[type[Op], ...] = (*VIEWS, Concat)  # narrowing is moved before them
SMOOTH: tuple[type[Op], ...] = (  # what is made of a number off by little is off by little
    *(ops.Add, ops.Sub, ops.Mul, ops.Div, ops.Maximum, ops.Minimum, ops.Clip, ops.Relu, ops.LeakyRelu, ops.Gelu),
    *(ops.Silu, ops.Sigmoid, ops.Tanh, ops.HardSwish, ops.HardSigmoid),
)


def store_bfloat16(graph: Graph, written: Iterable[Value]) -> None:
    """Of the float32 values that kernels write, those become bfloat16, in place, that are soon rounded anyway.

    All that is made of them element by element is: it becomes bytes or bfloat16, or is a mean.  Such are the shortcut
    of a residual network, the channels of a dense one, what squeeze-and-excitation scales.  The stream of a
    transformer, which LayerNorm takes and sums go on with, stays as it is.
    """
    soon = _soon_rounded(graph)
    for user, reads in _read(value for value in written if value in soon).items():
        with graph.before(user):
            operands = [
                graph.add(WIDEN, graph.add(NARROW, value)) if n in reads else value
                for n, value in enumerate(user.inputs)
            ]
            new = graph.add_node(user.op, *operands)
        for old, output in zip(user.outputs, new.outputs, strict=True):
            graph.replace(old, output)
        graph.remove(user)
    Repeat((HoistNarrowing(), RemoveDuplicates())).run(graph)
    verify(graph)


def _soon_rounded(graph: Graph) -> set[Value]:
    """The values of which all that is made is rounded before anything else is done with it, or is their mean."""
    found: set[Value] = set()
    outputs = {value for _, value in graph.outputs}

    def rounds(user: Node, read: Value) -> bool:
        if isinstance(user.op, ReduceMean | Quantize) or user.op == NARROW:
            return True
        passes = isinstance(user.op, MOVES) or (isinstance(user.op, SMOOTH) and read.type == user.output.type)
        return passes and user.output in found

    for node in reversed(graph.nodes):
        for value in node.outputs:
            if value.uses and value not in outputs and all(rounds(user, value) for user in value.uses):
                found.add(value)
    return found


def _read(values: Iterable[Value]) -> dict[Node, set[int]]:
    """Which operands of which nodes are values, or moves of them, to compute with."""
    found: dict[Node, set[int]] = {}
    pending = list(values)
    met = set(pending)
    while pending:
        value = pending.pop()
        for user in value.uses:
            if not isinstance(user.op, MOVES):
                if user.op != NARROW:
                    found.setdefault(user, set()).update(n for n, other in enumerate(user.inputs) if other is value)
            elif user.output not in met:
                met.add(user.output)
                pending.append(user.output)
    return found
