"""Matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dims import Dim
from alula.core.dtype import Array, DType
from alula.core.errors import ShapeError
from alula.ir.op import Op, register
from alula.ir.types import TensorType
from alula.ops.checks import FLOATS, broadcast, check_dtype, check_rank, check_same_dtype, check_shape


@register
@dataclass(frozen=True, slots=True)
class Linear(Op):
    """x w^T + bias.  x[...,k], w[n,k], bias[n] or none -> [...,n]; one float dtype; computed in float64, rounded once.

    A weight of f16 goes with f32 too: stored in half the bytes, exact when it is widened.
    With panel > 0 the weight is packed, w[ceil(n/panel),k,panel]: row i of the plain one is w[i//panel,:,i%panel], the
    rest is zero, and features is n.  Raises ShapeError for operands that do not fit.
    """

    name: ClassVar[str] = "linear"
    features: int = 0
    panel: int = 0

    def infer(self, x: TensorType, w: TensorType, bias: TensorType | None = None) -> TensorType:
        check_dtype(x, FLOATS)
        check_same_dtype(x, bias)
        check_weight(x, w)
        check_rank(x, 1)
        check_panel(self.features, self.panel)
        k, n = x.shape[-1], self.features
        if self.panel:
            check_shape("packed w", w, -(-n // self.panel), k, self.panel)
        else:
            n = w.dims("NK")[0]  # type: ignore[assignment]
            check_shape("w", w, n, k)
        check_shape("bias", bias, n)
        return x.reshaped(*x.shape[:-1], n)

    def reference(self, x: Array, w: Array, bias: Array | None = None) -> Array:
        plain = unpacked(w, self.features) if self.panel else w
        with np.errstate(all="ignore"):
            y = x.astype(np.float64) @ plain.T.astype(np.float64)
            return (y if bias is None else y + bias).astype(x.dtype)

    def macs(self, types: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        return outputs[0].elements * types[0].shape[-1]


@register
@dataclass(frozen=True, slots=True)
class Matmul(Op):
    """Matrix product of the last two axes.  a[...,m,k], b[...,k,n] -> [...,m,n]; the axes before them broadcast.

    One float dtype; computed in float64, rounded once.  Raises ShapeError below rank 2 or where k differs.
    """

    name: ClassVar[str] = "matmul"

    def infer(self, a: TensorType, b: TensorType) -> TensorType:
        check_dtype(a, FLOATS)
        check_same_dtype(a, b)
        check_rank(a, 2)
        check_rank(b, 2)
        check_shape("b", b, *b.shape[:-2], a.shape[-1], b.shape[-1])
        return a.reshaped(*broadcast(a.shape[:-2], b.shape[:-2]), a.shape[-2], b.shape[-1])

    def reference(self, a: Array, b: Array) -> Array:
        with np.errstate(all="ignore"):
            return (a.astype(np.float64) @ b.astype(np.float64)).astype(a.dtype)

    def macs(self, types: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        return outputs[0].elements * types[0].shape[-1]


def check_weight(x: TensorType, w: TensorType) -> None:
    """The weight has the dtype of x, or is f16 where x is f32."""
    if (x.dtype, w.dtype) != (DType.F32, DType.F16):
        check_same_dtype(x, w)


def check_panel(features: int, panel: int) -> None:
    """A packed weight says how many features it holds; a plain one says it by its shape alone."""
    if panel < 0 or features < 0 or (panel > 0) != (features > 0):
        raise ShapeError(f"expected features and panel both positive or both 0, got {features} and {panel}")


def unpacked(w: Array, features: int) -> Array:
    """w[panels,k,panel] -> [features,k]."""
    panels, k, panel = w.shape
    return w.transpose(0, 2, 1).reshape(panels * panel, k)[:features]
