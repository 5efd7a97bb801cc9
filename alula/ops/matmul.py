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
from alula.ir.types import TensorType, fixed
from alula.ops.checks import FLOATS, broadcast, check_dtype, check_rank, check_same_dtype, check_shape

LARGEST_BYTE_SUM = 65_536  # products of u8 and i8 that certainly fit 32 bits together: 255 * 128 * 65,536 < 2**31


@register
@dataclass(frozen=True, slots=True)
class Linear(Op):
    """x w^T + bias.  x[...,k], w[n,k], bias[n] or none -> [...,n], of the dtype that `product_dtype` gives.

    Floats are computed in float64 and rounded once, u8 with i8 is exact in i32.
    With panel > 0 the weight is packed, w[ceil(n/panel),k/g,panel,g], g = `group_of` its dtype, without the last axis
    where g is 1: element (i, j) of the plain one is w[i//panel,j//g,i%panel,j%g], the rest is zero, and features is n.
    Raises ShapeError for operands that do not fit.
    """

    name: ClassVar[str] = "linear"
    features: int = 0
    panel: int = 0
    wide: bool = False

    def infer(self, x: TensorType, w: TensorType, bias: TensorType | None = None) -> TensorType:
        dtype = product_dtype(x, w, wide=self.wide)
        check_same_dtype(x.cast(dtype), bias)
        check_rank(x, 1)
        check_panel(self.features, self.panel)
        k, n = x.shape[-1], self.features
        check_byte_sum(dtype, k)
        if self.panel:
            check_shape("packed w", w, -(-n // self.panel), *packed_shape(k, self.panel, w.dtype))
        else:
            n = w.dims("NK")[0]  # type: ignore[assignment]
            check_shape("w", w, n, k)
        check_shape("bias", bias, n)
        return TensorType(dtype, (*x.shape[:-1], n))

    def reference(self, x: Array, w: Array, bias: Array | None = None) -> Array:
        plain = unpacked(w, self.features) if self.panel else w
        with np.errstate(all="ignore"):
            y = x.astype(np.float64) @ plain.T.astype(np.float64)
            return (y if bias is None else y + bias).astype(np.int32 if x.dtype == np.uint8 else x.dtype)

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


def product_dtype(x: TensorType, w: TensorType, *, wide: bool) -> DType:
    """What sums of x times w become.  Raises ShapeError for dtypes that do not go together.

    One float dtype gives itself.  A weight of f16 goes with f32 too: stored in half the bytes, exact when widened.
    u8 with i8 gives i32.  With `wide`, bf16 gives f32: the sum before it would be rounded.
    """
    if wide:
        check_dtype(x, (DType.BF16,))
        check_same_dtype(x, w)
        return DType.F32
    if x.dtype is DType.U8:
        check_dtype(w, (DType.I8,))
        return DType.I32
    check_dtype(x, FLOATS)
    if (x.dtype, w.dtype) != (DType.F32, DType.F16):
        check_same_dtype(x, w)
    return x.dtype


def check_byte_sum(dtype: DType, k: Dim) -> None:
    """Sums in i32 are of so few products that they fit."""
    if dtype is DType.I32 and not 0 <= fixed(k, "inner size") <= LARGEST_BYTE_SUM:
        raise ShapeError(f"expected at most {LARGEST_BYTE_SUM} products of bytes in a sum, got {k}")


def group_of(dtype: DType) -> int:
    """Elements of a packed weight that lie together for one column: as many as a dot product's lane takes at once."""
    return {DType.BF16: 2, DType.I8: 4}.get(dtype, 1)


def packed_shape(k: Dim, panel: int, dtype: DType) -> tuple[Dim, ...]:
    """The shape of one panel of a packed weight.  Raises ShapeError for a k that is no multiple of the group."""
    group = group_of(dtype)
    if group == 1:
        return (k, panel)
    if fixed(k, "inner size") % group:
        raise ShapeError(f"expected an inner size that is a multiple of {group} for {dtype}, got {k}")
    return (k // group, panel, group)


def check_panel(features: int, panel: int) -> None:
    """A packed weight says how many features it holds; a plain one says it by its shape alone."""
    if panel < 0 or features < 0 or (panel > 0) != (features > 0):
        raise ShapeError(f"expected features and panel both positive or both 0, got {features} and {panel}")


def unpacked(w: Array, features: int) -> Array:
    """w[panels,k/g,panel,g], or w[panels,k,panel] -> [features,k]."""
    panels, words, panel, group = w.shape if w.ndim == 4 else (*w.shape, 1)
    plain = w.reshape(panels, words, panel, group).transpose(0, 2, 1, 3)
    return plain.reshape(panels * panel, words * group)[:features]
