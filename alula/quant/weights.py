"""Weights as bytes: levels, a step for each feature, and what their rounding moves the results by on average."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alula.core.dtype import Array
from alula.ir.graph import Graph, Value
from alula.ops.quantize import STEPS
from alula.quant.histogram import Floats
from alula.quant.scheme import Scheme


@dataclass(frozen=True, slots=True)
class Weight:
    """`levels` i8[n,...,c], what one level is worth in each feature, f64[n], and the sum of each feature's levels.

    `lost` f64[n,c] is what rounding took from each weight, added up over the places of a kernel.
    """

    levels: Value
    steps: Floats
    sums: Floats
    lost: Floats

    @classmethod
    def of(cls, graph: Graph, weight: Array, name: str, scheme: Scheme) -> Weight:
        """The nearest levels, the largest weight of each feature (or of all) being 127 of them."""
        n = weight.shape[0]
        flat = weight.reshape(n, -1).astype(np.float64)
        largest = np.abs(flat).max(axis=1)
        if scheme.weights == "per-tensor":
            largest = np.full(n, largest.max())
        steps = np.where(largest > 0, largest / STEPS, 1.0)
        levels = np.clip(np.rint(flat / steps[:, None]), -STEPS, STEPS)
        lost = (flat - levels * steps[:, None]).reshape(n, -1, weight.shape[-1]).sum(axis=1)
        value = graph.constant(levels.astype(np.int8).reshape(weight.shape), name)
        return cls(value, steps, levels.sum(axis=1), lost)

    def correction(self, mean: Floats) -> Floats:
        """(W - W_q) E[x]: what a bias takes back, f64[n], for the mean f64[c] of each channel of x.

        The border of a convolution is taken to be like the rest.  With groups mean has all channels, each feature's own
        in turn.  Source: Nagel et al., arXiv 1906.04721, section 4.2.
        """
        groups = mean.reshape(-1, self.lost.shape[1])
        own = np.repeat(groups, len(self.lost) // len(groups), axis=0)
        return np.asarray((self.lost * own).sum(axis=1), np.float64)
