"""Transposes after the ops that do not mind the order of axes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar

import numpy as np

from alula.ir.graph import Graph, Node, Value
from alula.ir.op import Op
from alula.ops.elementwise import Binary, Normalize
from alula.ops.norm import BatchNorm, LayerNorm
from alula.ops.reduce import Reduction
from alula.ops.shape import Concat, Pad, Reshape, Slice, Transpose
from alula.ops.softmax import Softmax
from alula.passes.match import POINTWISE, made_by
from alula.passes.rewrite import RewritePass
from alula.passes.views import apply_view, inverse_permutation, trace

Perm = tuple[int, ...]

LAST_AXIS = (LayerNorm, BatchNorm, Normalize)
PASSED = (*POINTWISE, Binary, Softmax, Reduction, Concat, Pad, *LAST_AXIS)


@dataclass(frozen=True)
class SinkTransposes(RewritePass):
    """op(transpose(x))  =>  transpose(op'(x)), for elementwise ops, normalisations, reductions, concat, pad, softmax.

    Operands beside the first one must be transposed alike, constant, without an order to lose (a scalar, one row),
    there untransposed already (an input that feeds a convolution and a residual sum), or views that move elements
    anyway and can as well leave them in the other order (a transposed convolution's pixels, a sequence of tokens).
    A transpose that others take too moves only if all of them let it pass or are views, as they may cancel it:
    one that each of several outputs needs is made for each.
    """

    name: ClassVar[str] = "sink-transposes"
    anchors: ClassVar = PASSED

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        turns = [turn for value in node.inputs if (turn := made_by(value, Transpose)) is not None]
        if not turns or not all(_may_go(graph, turn) for turn in turns):
            return None
        perm: Perm = next(turn.op.perm for turn in turns if isinstance(turn.op, Transpose))
        if isinstance(node.op, Binary | Concat):
            return _together(graph, node, perm)
        if node.inputs[0].producer is not turns[0]:
            return None
        moved = _moved(node, perm)
        if moved is None:
            return None
        op, after = moved
        return graph.add(Transpose(after), graph.add(op, turns[0].inputs[0], *node.inputs[1:]))


def _may_go(graph: Graph, turn: Node) -> bool:
    value = turn.output
    if any(value is output for _, output in graph.outputs):
        return False
    return len(value.uses) == 1 or all(isinstance(user.op, (*PASSED, Reshape, Transpose, Slice)) for user in value.uses)


def _moved(node: Node, perm: Perm) -> tuple[Op, Perm] | None:
    """The op for the untransposed operand, and the transpose of its result; None where the order of axes matters."""
    last = len(perm) - 1
    if isinstance(node.op, POINTWISE):
        return node.op, perm
    match node.op:
        case LayerNorm() | BatchNorm() | Normalize():
            return (node.op, perm) if perm[-1] == last else None
        case Softmax(axis=axis):
            return (Softmax(perm[axis]), perm) if axis != last or perm[axis] == last else None
        case Pad(before=before, after=after):
            places = inverse_permutation(perm)
            ahead, behind = tuple(before[p] for p in places), tuple(after[p] for p in places)
            return replace(node.op, before=ahead, after=behind), perm
        case Reduction(axes=axes, keepdims=keepdims):
            op = replace(node.op, axes=tuple(sorted(perm[axis] for axis in axes)))
            kept = [axis for place, axis in enumerate(perm) if place not in axes]
            return op, perm if keepdims else tuple(sorted(kept).index(axis) for axis in kept)
    return None


def _together(graph: Graph, node: Node, perm: Perm) -> Value | None:
    if len(perm) != len(node.output.type.shape):
        return None
    turned = [_untransposed(graph, value, perm) for value in node.inputs]
    if any(other is None for other in turned):
        return None
    others = [other for other in turned if other is not None]
    if sum(other.moves for other in others) >= sum(not trace(value)[-1][1].keeps_order for value in node.inputs):
        return None
    op = replace(node.op, axis=perm[node.op.axis]) if isinstance(node.op, Concat) else node.op
    return graph.add(Transpose(perm), graph.add(op, *(other.make() for other in others)))


@dataclass(frozen=True)
class _Untransposed:
    """How to make what a value is the transpose of, and whether elements move for it at run time."""

    make: Callable[[], Value]
    moves: bool = False


def _untransposed(graph: Graph, value: Value, perm: Perm) -> _Untransposed | None:
    """None where that takes elements moved that are not moved now."""
    shape, inverse = value.type.shape, inverse_permutation(perm)
    padded = (1,) * (len(perm) - len(shape)) + shape
    if value.data is not None:
        data = value.data.reshape(padded if all(isinstance(dim, int) for dim in padded) else shape)  # type: ignore[arg-type]
        return _Untransposed(lambda: graph.constant(np.ascontiguousarray(data.transpose(inverse)), value.name))
    seen = [(source, now, now.reshaped(padded).transposed(inverse)) for source, now in reversed(trace(value))]
    views = [(source, now, then.merged()) for source, now, then in seen if then is not None]
    for source, _, then in views:
        if then.keeps_order:
            return _Untransposed(partial(apply_view, graph, source, then))
    if any(user.op == Transpose(inverse) for user in value.uses):  # there already: remove-duplicates makes them one
        return _Untransposed(lambda: graph.add(Transpose(inverse), value))
    for source, now, then in views:
        if not now.keeps_order and _only_for(graph, value, source):
            return _Untransposed(partial(apply_view, graph, source, then), moves=True)
    return None


def _only_for(graph: Graph, value: Value, source: Value) -> bool:
    """Whether the views that make `value` from `source` serve nothing else."""
    while value is not source:
        if len(value.uses) > 1 or any(value is output for _, output in graph.outputs):
            return False
        assert value.producer is not None
        value = value.producer.inputs[0]
    return True
