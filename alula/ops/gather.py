"""Elements at places that are given by numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dtype import Array, DType
from alula.core.errors import ShapeError
from alula.ir.op import Op, register
from alula.ir.types import TensorType
from alula.ops.checks import check_axis, check_dtype


@register
@dataclass(frozen=True, slots=True)
class Gather(Op):
    """x at `indices` along one axis, whose place their axes take.  x any dtype, indices i32 or i64.

    An index below 0 counts from the end; one that is still outside the axis means the nearest element that is there.
    Raises ShapeError for an axis without elements.  Source: ONNX Gather-13, which leaves such indices undefined.
    """

    name: ClassVar[str] = "gather"
    axis: int

    def infer(self, x: TensorType, indices: TensorType) -> TensorType:
        check_axis(x, self.axis)
        check_dtype(indices, (DType.I32, DType.I64))
        if x.shape[self.axis] == 0:
            raise ShapeError(f"expected an axis with elements, got {x}")
        return x.reshaped(*x.shape[: self.axis], *indices.shape, *x.shape[self.axis + 1 :])

    def reference(self, x: Array, indices: Array) -> Array:
        size = x.shape[self.axis]
        wide = indices.astype(np.int64)
        places = np.clip(np.where(wide < 0, wide + size, wide), 0, size - 1)
        return np.take(x, places, self.axis)
