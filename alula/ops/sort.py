"""The first elements in order of size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dtype import Array, DType
from alula.core.errors import ShapeError
from alula.ir.op import Op, register
from alula.ir.types import TensorType
from alula.ops.checks import NUMBERS, check_at_least, check_dtype, check_rank


@register
@dataclass(frozen=True, slots=True)
class TopK(Op):
    """The k largest (or smallest) elements of the last axis in order, and their places; equal ones as they stand.

    x[...,n] numbers -> values[...,k], places[...,k] i64.  NaN is larger than every number.
    Source: ONNX TopK-11; for NaN, PyTorch's topk.
    """

    name: ClassVar[str] = "top_k"
    k: int
    largest: bool = True

    def infer(self, x: TensorType) -> tuple[TensorType, TensorType]:
        check_dtype(x, NUMBERS)
        check_rank(x, 1)
        if self.k < 0:
            raise ShapeError(f"expected k >= 0, got {self.k}")
        check_at_least("last axis", x.shape[-1], self.k)
        values = x.reshaped(*x.shape[:-1], self.k)
        return values, values.cast(DType.I64)

    def reference(self, x: Array) -> tuple[Array, Array]:
        if self.largest:  # the last of equal ones first, from the end
            order = x.shape[-1] - 1 - np.argsort(x[..., ::-1], -1, kind="stable")[..., ::-1]
        else:
            order = np.argsort(x, -1, kind="stable")
        places = order[..., : self.k].astype(np.int64)
        return np.take_along_axis(x, places, -1), places
