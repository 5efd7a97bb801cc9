"""Weights rounded so that their errors cancel where channels are large together.

With e the errors of a feature's weights and E[x x^T] = V V^T + D, what the feature is off by, e . x, has on average the
square |V^T e|**2 + e D e.  Weights are rounded one after another, the most important first.  Those still to come, were
they not rounded, would best take back p = V^T e of those before by

    e[j] = -(v[j] / d[j]) (1 + sum over i from j on of v[i] v[i]^T / d[i])^-1 p

so each is moved by that much before it becomes the nearest level.  It is GPTQ (Frantar et al., arXiv 2210.17323), whose
matrix has as many rows as x; V has but a few columns.
"""

from __future__ import annotations

import numpy as np

from alula.ops.quantize import STEPS
from alula.quant.histogram import Floats
from alula.quant.moments import Moments

DAMPING = 0.01  # of the mean of x**2, added to each: pictures to come are not those of calibration


def nearest(weight: Floats) -> Floats:
    """The levels nearest to weights in steps."""
    levels: Floats = np.clip(np.rint(weight), -STEPS, STEPS)
    return levels


def together(weight: Floats, moments: Moments) -> Floats:
    """Levels for weights in steps, both f64[n,k,c]; k places of a kernel, being neighbours, count as seeing one x."""
    n, places, _ = weight.shape
    own = np.square(moments.own)
    sizes = own + np.square(moments.shared).sum(axis=1)
    own = np.tile(own + DAMPING * sizes.mean(), places)
    shared = np.tile(moments.shared, (places, 1))
    order = np.argsort(-np.tile(sizes, places), kind="stable")
    columns = weight.reshape(n, -1).T
    levels = np.empty_like(columns)
    levels[order] = _in_turn(columns[order], shared[order], own[order])
    return levels.T.reshape(weight.shape)


def _in_turn(weight: Floats, shared: Floats, own: Floats) -> Floats:
    """Levels f64[k,n] of weights f64[k,n], row after row."""
    levels = np.empty_like(weight)
    carried = np.zeros((shared.shape[1], weight.shape[1]))
    for j, gain in enumerate(_gains(shared, own)):
        levels[j] = nearest(weight[j] - gain @ carried)
        carried += np.outer(shared[j], levels[j] - weight[j])
    return levels


def _gains(shared: Floats, own: Floats) -> Floats:
    """How much of what is carried each weight takes back, f64[k,r]."""
    scaled = shared / own[:, None]
    inner = (scaled[:, :, None] * shared[:, None, :])[::-1].cumsum(axis=0)[::-1] + np.eye(shared.shape[1])
    return np.asarray(np.linalg.solve(inner, scaled[:, :, None])[:, :, 0], np.float64)
