"""Weights as bytes: levels, a step for each feature, and what their rounding moves the results by on average."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alula.core.dims import Dim
from alula.core.dtype import Array
from alula.ir.graph import Graph, Node, Value
from alula.ops.conv import Conv2d
from alula.ops.quantize import STEPS
from alula.quant.histogram import Floats
from alula.quant.moments import Moments
from alula.quant.rounding import nearest, together
from alula.quant.scheme import Scheme


@dataclass(frozen=True, slots=True)
class Weight:
    """`levels` i8[n,...,c], what one level is worth in each feature, f64[n], and the sum of each feature's levels.

    `lost` f64[n,k,c] is what rounding took from each weight, k the places of a convolution's kernel.
    """

    levels: Value
    steps: Floats
    sums: Floats
    lost: Floats

    @classmethod
    def of(cls, graph: Graph, weight: Array, name: str, scheme: Scheme, moments: Moments | None = None) -> Weight:
        """Levels, the largest weight of each feature (or of all) being 127: the nearest, or by x's `moments`."""
        n = weight.shape[0]
        flat = weight.reshape(n, -1).astype(np.float64)
        largest = np.abs(flat).max(axis=1)
        if scheme.weights == "per-tensor":
            largest = np.full(n, largest.max())
        steps = np.where(largest > 0, largest / STEPS, 1.0)
        levels = _levels((flat / steps[:, None]).reshape(n, -1, weight.shape[-1]), moments)
        lost = flat.reshape(levels.shape) - levels * steps[:, None, None]
        value = graph.constant(levels.astype(np.int8).reshape(weight.shape), name)
        return cls(value, steps, levels.sum(axis=(1, 2)), lost)

    def correction(self, node: Node, mean: Floats) -> Floats:
        """(W - W_q) E[x]: what a bias takes back, f64[n], for the mean f64[c] of each channel of x.

        Border is 0, and met by a place of the kernel as often as `coverage` says.  With groups mean has all channels,
        each feature's own in turn.  Source: Nagel et al., arXiv 1906.04721, section 4.2.
        """
        covered = np.einsum("nkc,k->nc", self.lost, coverage(node))
        groups = mean.reshape(-1, covered.shape[1])
        own = np.repeat(groups, len(covered) // len(groups), axis=0)
        return np.asarray((covered * own).sum(axis=1), np.float64)


def _levels(weight: Floats, moments: Moments | None) -> Floats:
    """Of weights in steps f64[n,k,c]; with groups moments have all channels, each feature's own in turn."""
    if moments is None:
        return nearest(weight)
    groups = len(moments.own) // weight.shape[-1]
    parts = zip(np.split(weight, groups), moments.split(groups), strict=True)
    return np.concatenate([together(part, own) for part, own in parts])


def coverage(node: Node) -> Floats:
    """For how much of the output each place of a product's kernel, f64[kh*kw], meets the input and not its border."""
    op = node.op
    if not isinstance(op, Conv2d):
        return np.ones(1)
    x, y, kernel = node.inputs[0].type.shape, node.output.type.shape, node.inputs[1].type.shape
    axes = [
        _covered(x[axis + 1], y[axis + 1], kernel[axis + 1], op.stride[axis], op.pad[axis], op.dilation[axis])
        for axis in (0, 1)
    ]
    return np.outer(*axes).reshape(-1)


def _covered(size: Dim, count: Dim, taps: Dim, stride: int, pad: int, dilation: int) -> Floats:
    """Of each tap along one axis; all of it where the size is not fixed."""
    assert isinstance(taps, int)
    if not isinstance(size, int) or not isinstance(count, int):
        return np.ones(taps)
    places = np.arange(count)[:, None] * stride - pad + np.arange(taps) * dilation
    return np.asarray(((places >= 0) & (places < size)).mean(axis=0), np.float64)
