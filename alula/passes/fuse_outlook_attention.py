"""Outlook attention as one op: the unfolded tensor is never made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from alula.core.dims import product, quotient
from alula.ir.graph import Graph, Node, Value
from alula.ops.matmul import Matmul
from alula.ops.outlook import OutlookAttention
from alula.ops.softmax import Softmax
from alula.ops.unfold import Fold, Unfold
from alula.passes.match import behind, made_by
from alula.passes.rewrite import RewritePass
from alula.passes.views import Shape, View, apply_view

HEADS_FIRST = (0, 2, 3, 4, 1, 5)  # [b,heads,oh,ow,i,j] -> [b,oh,ow,i,heads,j]
HEADS_INSIDE = (0, 1, 2, 4, 3, 5)  # [b,oh,ow,heads,i,j] -> [b,oh,ow,i,heads,j]


@dataclass(frozen=True)
class FuseOutlookAttention(RewritePass):
    """fold(matmul(softmax(s * logits), unfold(v)))  =>  outlook_attention(logits, v), through whatever views it takes.

    logits[b,h,w,heads*K*K] and v[b,H,W,heads*d], K = kh*kw.  The windows' heads may come before or after their places.
    Refused where the windows of unfold and fold differ, and where the softmax is not over the places of a window.
    """

    name: ClassVar[str] = "fuse-outlook-attention"
    anchors: ClassVar = (Fold,)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        mixed, mixed_view, _ = behind(node.inputs[0])
        dots = made_by(mixed, Matmul)
        if dots is None or not isinstance(node.op, Fold):
            return None
        windows, windows_view, _ = behind(dots.inputs[1])
        unfold = made_by(windows, Unfold)
        weights = _weights(dots)
        if unfold is None or weights is None or not _same_windows(node, unfold):
            return None
        logits, logits_view, scale = weights
        for heads_first in (True, False):
            layout = _Layout.of(node, dots, heads_first)
            if layout is None:
                continue
            turned = layout.logits(logits_view)
            if (
                turned is not None
                and turned.merged().keeps_order
                and layout.is_columns(windows_view)
                and layout.is_columns(View.identity(mixed.type.shape), mixed_view)
            ):
                op = OutlookAttention(layout.heads, node.op.kernel, node.op.stride, node.op.pad, scale)
                return graph.add(op, apply_view(graph, logits, turned), unfold.inputs[0])
        return None


@dataclass(frozen=True)
class _Layout:
    """How the batch dimensions of the matmul read: [b,heads,oh,ow] or [b,oh,ow,heads]; `inner` are its last three."""

    outer: Shape
    places: int
    heads: int
    heads_first: bool

    @classmethod
    def of(cls, fold: Node, dots: Node, heads_first: bool) -> _Layout | None:
        *outer, places, _ = fold.inputs[0].type.shape
        try:
            heads = quotient(product(dots.output.type.shape[:-2]), product(outer))
        except ValueError:
            return None
        fits = isinstance(heads, int) and isinstance(places, int)
        square = dots.inputs[0].type.shape[-2:] == (places, places) and dots.output.type.shape[-2] == places
        alike = len({value.type.shape[:-2] for value in (*dots.inputs, dots.output)}) == 1
        return cls(tuple(outer), places, heads, heads_first) if fits and square and alike else None  # type: ignore[arg-type]

    def logits(self, view: View) -> View | None:
        """The view of the matmul's left operand, continued to logits[b,oh,ow,heads*K*K]."""
        split = self._split(view, self.places)
        turned = split.transposed((0, 2, 3, 1, 4, 5)) if self.heads_first else split
        return turned.reshaped((*self.outer, self.heads * self.places**2)) if turned else None

    def is_columns(self, view: View, wanted: View | None = None) -> bool:
        """True where the view, continued to [b,oh,ow,K,heads*d], is `wanted` (or changes nothing)."""
        split = self._split(view, view.shape[-1])
        turned = split.transposed(HEADS_FIRST if self.heads_first else HEADS_INSIDE)
        if turned is None:
            return False
        whole = turned.reshaped((*self.outer, self.places, view.shape[-1] * self.heads))
        if wanted is None:
            return whole.shape == whole.source and whole.merged().keeps_order
        return whole.merged() == wanted.merged()

    def _split(self, view: View, columns: object) -> View:
        b, oh, ow = self.outer
        batch = (b, self.heads, oh, ow) if self.heads_first else (b, oh, ow, self.heads)
        return view.reshaped((*batch, self.places, columns))  # type: ignore[arg-type]


def _weights(dots: Node) -> tuple[Value, View, float] | None:
    """Logits, view and scale, where the matmul's left operand is softmax(scale * view(logits)) over its last axis."""
    weights, outer, _ = behind(dots.inputs[0])
    softmax = made_by(weights, Softmax)
    if softmax is None or not isinstance(softmax.op, Softmax):
        return None
    if not outer.keeps_axis(softmax.op.axis, len(outer.shape) - 1):
        return None
    logits, inner, scale = behind(softmax.inputs[0], scales=True)
    view = inner.then(outer)
    return (logits, view, scale) if view else None


def _same_windows(fold: Node, unfold: Node) -> bool:
    match fold.op, unfold.op:
        case Fold() as back, Unfold() as forth:
            same = (back.kernel, back.stride, back.pad) == (forth.kernel, forth.stride, forth.pad)
            whole = back.dilation == forth.dilation == (1, 1)
            return same and whole and unfold.inputs[0].type.shape == fold.output.type.shape
    return False
