"""Softmax."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dtype import Array
from alula.ir.op import Op, register
from alula.ir.types import TensorType
from alula.ops.checks import FLOATS, check_axis, check_dtype


@register
@dataclass(frozen=True, slots=True)
class Softmax(Op):
    """exp(x - max) / sum of it along one axis (counted from the front); floats, computed in float64 and rounded.

    Source: ONNX Softmax-13.
    """

    name: ClassVar[str] = "softmax"
    axis: int

    def infer(self, x: TensorType) -> TensorType:
        check_dtype(x, FLOATS)
        check_axis(x, self.axis)
        return x

    def reference(self, x: Array) -> Array:
        return exact_softmax(x.astype(np.float64), self.axis).astype(x.dtype)


def exact_softmax(x: Array, axis: int) -> Array:
    """The softmax of float64; as empty as x."""
    with np.errstate(all="ignore"):
        powers = np.exp(x - x.max(axis, keepdims=True, initial=-np.inf))
        return np.asarray(powers / powers.sum(axis, keepdims=True))
