"""Weights that are whole multiples of one number for each feature, as a quantised model has them."""

from __future__ import annotations

import numpy as np

from alula.core.dtype import Array

MOST_STEPS = 128
ROUNDING = 1e-4  # of a level: float32 keeps 128 of them with a sixth of that


def whole_steps(weight: Array) -> tuple[Array, Array] | None:
    """levels i8[n,...] and the finest step f64[n] with weight[n,...] = levels * step.

    None where a feature's weights are not such multiples.  A feature of zeros has step 1.
    """
    flat = weight.reshape(weight.shape[0], -1).astype(np.float64)
    largest = np.abs(flat).max(axis=1, initial=0)
    steps = np.where(largest > 0, 0.0, 1.0)
    levels = np.zeros(flat.shape)
    for count in range(MOST_STEPS, 0, -1):
        rows = np.flatnonzero(steps == 0)
        if not len(rows):
            break
        found = flat[rows] / (largest[rows] / count)[:, None]
        whole = np.rint(found)
        fit = (np.abs(found - whole) <= ROUNDING).all(axis=1) & (whole.max(axis=1) < MOST_STEPS)
        levels[rows[fit]], steps[rows[fit]] = whole[fit], largest[rows[fit]] / count
    if not steps.all():
        return None
    return levels.astype(np.int8).reshape(weight.shape), steps
