"""Scaled dot-product attention over several heads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dims import Dim, quotient
from alula.core.dtype import Array, DType
from alula.core.errors import ShapeError
from alula.ir.op import Op, register
from alula.ir.types import TensorType, fixed
from alula.ops.checks import FLOATS, check_dtype, check_same_dtype, check_shape
from alula.ops.matmul import check_byte_sum, group_of
from alula.ops.quantize import STEPS, QuantizeRows
from alula.ops.softmax import exact_softmax

WEIGHT_STEPS = 255 * 256  # two bytes hold a little more, for what is rounded


@register
@dataclass(frozen=True, slots=True)
class Attention(Op):
    """softmax(scale * q k^T + bias) v by heads.  q[b,n,heads*d], k[b,m,heads*d], v[b,m,heads*e] -> [b,n,heads*e].

    Head h has columns h*d to (h+1)*d.  bias[g,heads or 1,n or 1,m] may be left out; batch element i has its i % g, so
    that windows of a picture, which are batch elements, may have a mask each.  One float dtype, computed in float64 and
    rounded once; zeros for m = 0.  With `wide` the operands but the bias are bf16 and the result is f32.  With
    `byte_values` weights are rounded to 65280ths of the largest of their row before they are divided by their sum, and
    each column of v, in each batch element, to 127ths of its largest: their product is one of bytes.  With
    `byte_scores` too, in each head and batch element, rows of q become bytes as `QuantizeRows` makes them, and those of
    k less their mean, which softmax does not see (Zhang et al., arXiv 2410.02367), 127ths of their largest.
    Source: Vaswani et al., arXiv 1706.03762, section 3.2; the bias: Liu et al., arXiv 2103.14030, equation 4.
    """

    name: ClassVar[str] = "attention"
    heads: int
    scale: float
    wide: bool = False
    byte_values: bool = False
    byte_scores: bool = False

    def infer(self, q: TensorType, k: TensorType, v: TensorType, bias: TensorType | None = None) -> TensorType:
        check_dtype(q, (DType.BF16,) if self.wide else FLOATS)
        check_same_dtype(q, k, v)
        b, n, columns = q.dims("BNC")
        _, m, _ = k.dims("BMC")
        _, _, values = v.dims("BMC")
        if self.byte_values:
            check_byte_sum(DType.I32, m)
        if self.byte_scores:
            check_byte_scores(self, q)
        check_shape("k", k, b, m, check_heads(self.heads, columns))
        check_shape("v", v, b, m, check_heads(self.heads, values))
        result = TensorType(DType.F32 if self.wide else q.dtype, (b, n, values))
        if bias is not None:
            check_same_dtype(result, bias)
            check_bias(bias, b, self.heads, n, m)
        return result

    def reference(self, q: Array, k: Array, v: Array, bias: Array | None = None) -> Array:
        q64, k64, v64 = (split_heads(x.astype(np.float64), self.heads) for x in (q, k, v))
        with np.errstate(all="ignore"):
            if self.byte_scores and k64.size:
                levels, scale, zero = (x.astype(np.float64) for x in QuantizeRows().reference(q64.astype(np.float32)))
                q64, k64 = (levels - zero) * scale, whole_steps(k64 - k64.mean(-2, keepdims=True), -1)
            scores = self.scale * (q64 @ k64.swapaxes(-1, -2))
            if bias is not None:
                scores = scores + bias.astype(np.float64)[np.arange(len(q)) % len(bias)]
            weights = exact_softmax(scores, -1)
            if self.byte_values and weights.size:
                largest = weights.max(-1, keepdims=True)
                weights = np.rint(weights / largest * WEIGHT_STEPS) / WEIGHT_STEPS * largest
                v64 = whole_steps(v64, -2)
            y = weights @ v64
            return y.swapaxes(1, 2).reshape(*q.shape[:2], v.shape[2]).astype(q.dtype)

    def macs(self, types: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        q, k, *_ = types
        return (q.elements + outputs[0].elements) * k.shape[1]


def whole_steps(x: Array, axis: int) -> Array:
    """x to 127ths of its largest along an axis."""
    most = np.abs(x).max(axis, keepdims=True)
    factor = np.where(most > 0, np.float32(STEPS) / most.astype(np.float32), np.float32(0))
    steps: Array = np.rint(x * factor) * (most / STEPS)
    return steps


def check_byte_scores(op: Attention, q: TensorType) -> None:
    """Queries are float32 in heads of whole words of bytes, and the values are bytes as well."""
    width = check_heads(op.heads, q.dims("BNC")[2]) // op.heads
    if q.dtype is not DType.F32 or width % group_of(DType.I8) or not op.byte_values:
        raise ShapeError(f"expected byte_values, and f32 heads of a multiple of 4 columns, got {q} of {op.heads} heads")


def check_heads(heads: int, columns: Dim) -> int:
    """The fixed number of columns, once `heads` divides it."""
    count = fixed(columns, "number of columns")
    if heads < 1 or count % heads:
        raise ShapeError(f"expected heads that divide the {count} columns, got {heads}")
    return count


def check_bias(bias: TensorType, b: Dim, heads: int, n: Dim, m: Dim) -> None:
    """`bias` is [g,heads or 1,n or 1,m], and g divides b."""
    g, *rest = bias.dims("GHNM")
    allowed = [(h, rows, m) for h in (heads, 1) for rows in (n, 1)]
    if tuple(rest) not in allowed or not divides(g, b):
        raise ShapeError(f"expected bias[g,{heads} or 1,{n} or 1,{m}], g a divisor of {b}, got {bias}")


def divides(g: Dim, b: Dim) -> bool:
    """True where `b` is a multiple of `g` whatever the named sizes are."""
    try:
        quotient(b, g)
    except ValueError:
        return b == g
    return True


def split_heads(x: Array, heads: int) -> Array:
    """x[b,n,heads*d] -> [b,heads,n,d]."""
    b, n, columns = x.shape
    return x.reshape(b, n, heads, columns // heads).swapaxes(1, 2)
