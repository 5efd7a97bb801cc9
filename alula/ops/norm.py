"""Normalisation over the last axis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dtype import Array
from alula.ir.op import Op, register
from alula.ir.types import TensorType
from alula.ops.checks import FLOATS, check_dtype, check_epsilon, check_rank, check_same_dtype, check_shape


@register
@dataclass(frozen=True, slots=True)
class LayerNorm(Op):
    """(x - mean) / sqrt(variance + eps) * gamma + beta, statistics over the last axis.  x[...,c], gamma[c], beta[c].

    The variance divides by c.  One float dtype, computed in float64 and rounded once.
    Source: Ba et al., arXiv 1607.06450, equation 3; ONNX LayerNormalization-17.
    """

    name: ClassVar[str] = "layer_norm"
    eps: float

    def infer(self, x: TensorType, gamma: TensorType, beta: TensorType) -> TensorType:
        return _normalised(self.eps, x, gamma=gamma, beta=beta)

    def reference(self, x: Array, gamma: Array, beta: Array) -> Array:
        wide, c = x.astype(np.float64), x.shape[-1]
        with np.errstate(all="ignore"):
            centred = wide - np.divide(wide.sum(-1, keepdims=True), c)
            variance = np.divide((centred**2).sum(-1, keepdims=True), c)
            return np.asarray(centred / np.sqrt(variance + self.eps) * gamma + beta, x.dtype)


@register
@dataclass(frozen=True, slots=True)
class BatchNorm(Op):
    """(x - mean) / sqrt(var + eps) * gamma + beta with given statistics.  x[...,c], all four others [c].

    One float dtype, computed in float64 and rounded once.  Source: ONNX BatchNormalization-15, channels last.
    """

    name: ClassVar[str] = "batch_norm"
    eps: float

    def infer(
        self, x: TensorType, gamma: TensorType, beta: TensorType, mean: TensorType, var: TensorType
    ) -> TensorType:
        return _normalised(self.eps, x, gamma=gamma, beta=beta, mean=mean, var=var)

    def reference(self, x: Array, gamma: Array, beta: Array, mean: Array, var: Array) -> Array:
        with np.errstate(all="ignore"):
            deviation = np.sqrt(var.astype(np.float64) + self.eps)
            return np.asarray((x - mean.astype(np.float64)) / deviation * gamma + beta, x.dtype)


def _normalised(eps: float, x: TensorType, **vectors: TensorType) -> TensorType:
    check_epsilon(eps)
    check_dtype(x, FLOATS)
    check_rank(x, 1)
    check_same_dtype(x, *vectors.values())
    for name, vector in vectors.items():
        check_shape(name, vector, x.shape[-1])
    return x
