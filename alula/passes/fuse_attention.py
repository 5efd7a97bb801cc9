"""Scaled dot-product attention as one op."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

from alula.core.dims import Dim, product, quotient
from alula.ir.graph import Graph, Node, Value
from alula.ops.attention import Attention
from alula.ops.elementwise import Add
from alula.ops.logic import IsNan, Where
from alula.ops.matmul import Matmul
from alula.ops.softmax import Softmax
from alula.passes.attention_bias import Addend, bias_maker
from alula.passes.match import behind, made_by, scalar
from alula.passes.rewrite import RewritePass
from alula.passes.views import View, apply_view

WITH_GUARD = 2  # uses of weights that are tested for NaN
MOST_ADDENDS = 3  # a position bias, a mask of windows and one of what is padded


@dataclass(frozen=True)
class FuseAttention(RewritePass):
    """matmul(softmax(s * matmul(q, k^T) + bias), v)  =>  attention(q, k, v, bias), on token-major [b,n,heads*d].

    The operands may be seen through any views that leave them token-major (a split into heads, a slice of one tensor
    of all three), and s may stand on q, on k or on their product.  Position biases and masks that are added to the
    scores become one bias.  Refused where the softmax takes another axis, and where its result is used elsewhere too.
    """

    name: ClassVar[str] = "fuse-attention"
    anchors: ClassVar = (Matmul,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        scores = _scores(graph, node)
        if scores is None:
            return None
        q, k = (behind(value, scales=True) for value in scores.dots.inputs)
        v = behind(node.inputs[1])
        k_view = k[1].transposed(_swapped(len(k[1].shape)))
        if k_view is None:
            return None
        for heads in _head_counts(k_view):
            views = [token_major(view, heads) for view in (q[1], k_view, v[1])]
            back = _from_token_major(node.output, heads)
            bias = bias_maker(scores.addends, heads, guarded=scores.guarded) if scores.addends else None
            if back is None or (scores.addends and bias is None):
                continue
            if all(view is not None and view.merged().keeps_order for view in views):
                seen = zip((q[0], k[0], v[0]), views, strict=True)
                tensors = [apply_view(graph, value, view) for value, view in seen if view is not None]
                tensors += [bias(graph)] if bias else []
                return apply_view(graph, graph.add(Attention(heads, scores.scale * q[2] * k[2]), *tensors), back)
        return None


@dataclass(frozen=True, slots=True)
class Scores:
    """scale * `dots` + the addends; `guarded` where weights of rows that a mask hides become 0."""

    dots: Node
    scale: float
    addends: tuple[Addend, ...] = ()
    guarded: bool = False


def _scores(graph: Graph, node: Node) -> Scores | None:
    """The scores of matmul(softmax(scores), v); None where it is something else."""
    left, right = node.inputs
    guarded, outer, _ = behind(left)
    weights = _without_guard(guarded)
    softmax = made_by(weights, Softmax)
    if softmax is None or softmax.op != Softmax(weights.type.rank - 1) or not _dies(graph, weights, guarded):
        return None
    scores = _sum(softmax.inputs[0])
    if scores is None or not _keeps_rows(outer):
        return None
    shape = scores.dots.output.type.shape
    alike = shape[-2:] == left.type.shape[-2:] and right.type.shape[:-2] == left.type.shape[:-2]
    same_batch = all(value.type.shape[:-2] == shape[:-2] for value in scores.dots.inputs)
    return replace(scores, guarded=weights is not guarded) if alike and same_batch else None


def _sum(value: Value, most: int = MOST_ADDENDS) -> Scores | None:
    """A product of matrices, scaled, with a few sums after it: seen through views that keep its rows."""
    value, view, scale = behind(value, scales=True)
    if not _keeps_rows(view):
        return None
    if (dots := made_by(value, Matmul)) is not None:
        return Scores(dots, scale)
    add = made_by(value, Add)
    if add is None or scale != 1 or not most:
        return None
    for x, other in (add.inputs, add.inputs[::-1]):
        if x.type == value.type and (inner := _sum(x, most - 1)) is not None:
            return replace(inner, addends=(*inner.addends, Addend(other, value.type.shape)))
    return None


def _dies(graph: Graph, weights: Value, guarded: Value) -> bool:
    """True where nothing else takes the weights; their guard does so twice."""
    if weights is guarded:
        return graph.sole_use(weights) is not None
    return graph.sole_use(guarded) is not None and len(weights.uses) == WITH_GUARD


def _without_guard(value: Value) -> Value:
    """s of where(isnan(s), 0, s), which exporters write for rows that a mask hides as a whole."""
    node = made_by(value, Where)
    if node is None or scalar(node.inputs[1]) != 0:
        return value
    test, guarded = made_by(node.inputs[0], IsNan), node.inputs[2]
    return guarded if test is not None and test.inputs[0] is guarded and guarded.type == value.type else value


def _keeps_rows(view: View) -> bool:
    """True where the view is a reshape that leaves the last axis alone."""
    return view.merged().keeps_order and view.keeps_axis(len(view.source) - 1, len(view.shape) - 1)


def _swapped(rank: int) -> tuple[int, ...]:
    return (*range(rank - 2), rank - 1, rank - 2)


def _head_counts(view: View) -> Iterator[int]:
    """What the innermost factors of the batch dimensions multiply to: the possible numbers of heads, 1 first."""
    yield 1
    split = view.split()
    heads: Dim = 1
    if split is not None:
        for factor in reversed([factor for group in split[1][:-2] for factor in group]):
            heads = heads * split[0].factors[factor]
            if not isinstance(heads, int):
                return
            yield heads


def token_major(view: View, heads: int) -> View | None:
    """The view of [batch..., n, d] continued to [b, n, heads*d]; None where `heads` is no inner part of the batch."""
    *batch, n, d = view.shape
    try:
        b = quotient(product(batch), heads)
    except ValueError:
        return None
    turned = view.reshaped((b, heads, n, d)).transposed((0, 2, 1, 3))
    return turned.reshaped((b, n, d * heads)) if turned else None


def _from_token_major(value: Value, heads: int) -> View | None:
    """The view of attention's [b,n,heads*e] that is `value`'s [batch..., n, e]."""
    there = token_major(View.identity(value.type.shape), heads)
    return there.inverse() if there else None
