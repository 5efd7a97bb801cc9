"""Images made of chance that differ in more than noise: noise alone looks much the same to a deep network."""

from __future__ import annotations

import numpy as np

from alula.core.dtype import Array

GRIDS = (2, 8)  # cells of a side


def pictures(count: int, size: int, generator: np.random.Generator) -> Array:
    """f32[count,3,size,size] of variance 1: normal numbers for cells of several sizes, and for each pixel.

    `size` is a multiple of the finest grid.
    """
    total = generator.standard_normal((count, 3, size, size), dtype=np.float32)
    for cells in GRIDS:
        coarse = generator.standard_normal((count, 3, cells, cells), dtype=np.float32)
        total += coarse.repeat(size // cells, 2).repeat(size // cells, 3)
    return total / np.float32(np.sqrt(len(GRIDS) + 1))
