"""Outlook attention: every place of a window attends to all of the window with weights that its centre predicts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dims import Dim
from alula.core.dtype import Array
from alula.ir.op import Op, register
from alula.ir.types import TensorType
from alula.ops.attention import check_heads
from alula.ops.checks import FLOATS, check_dtype, check_same_dtype, check_shape
from alula.ops.softmax import exact_softmax
from alula.ops.unfold import folded
from alula.ops.windows import Pad, Pair, padded, window_counts, windows


@register
@dataclass(frozen=True, slots=True)
class OutlookAttention(Op):
    """fold(softmax(scale * logits) @ unfold(v)).  logits[b,h,w,heads*K*K], v[b,H,W,heads*d] -> [b,H,W,heads*d].

    K = kh*kw, h and w count the windows of H and W; logit (head*K + i)*K + j weighs place j of the window for place i,
    the softmax is over j.  Head h of v has columns h*d to (h+1)*d.  One float dtype, computed in float64, rounded once.
    Source: Yuan et al., arXiv 2106.13112, section 3.1 and algorithm 1.
    """

    name: ClassVar[str] = "outlook_attention"
    heads: int
    kernel: Pair
    stride: Pair
    pad: Pad
    scale: float

    def infer(self, logits: TensorType, v: TensorType) -> TensorType:
        check_dtype(v, FLOATS)
        check_same_dtype(v, logits)
        b, height, width, columns = v.dims("BHWC")
        check_heads(self.heads, columns)
        h, w = window_counts(height, width, self.kernel, self.stride, self.pad)
        check_shape("logits", logits, b, h, w, self.heads * (self.kernel[0] * self.kernel[1]) ** 2)
        return v

    def reference(self, logits: Array, v: Array) -> Array:
        b, height, width, columns = v.shape
        heads, size = self.heads, self.kernel[0] * self.kernel[1]
        h, w = logits.shape[1:3]
        places = windows(padded(v.astype(np.float64), self.pad), self.kernel, self.stride)
        values = places.reshape(b, h, w, size, heads, columns // heads).swapaxes(3, 4)
        with np.errstate(all="ignore"):
            scores = self.scale * logits.astype(np.float64).reshape(b, h, w, heads, size, size)
            mixed = (exact_softmax(scores, -1) @ values).swapaxes(3, 4).reshape(b, h, w, size, columns)
            return folded(mixed, (height, width), self.kernel, self.stride, self.pad).astype(v.dtype)

    def macs(self, types: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        b, h, w, _ = types[0].shape
        return b * h * w * (self.kernel[0] * self.kernel[1]) ** 2 * outputs[0].shape[3]
