"""Whether an engine's answers are right: by their size, and by what tells one image from another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alula.core.dtype import Array
from bench.precision import Precision


@dataclass(frozen=True, slots=True)
class Agreement:
    """How near an output is to the reference, and what `precision` it was asked for in.

    `error` is max abs difference / max abs reference, `cosine` the least, over images, between what tells the image
    from the others in the output and in the reference, `same_argmax` the share of rows whose arg-max is equal: a row is
    an image's classes, or a pixel's.
    """

    precision: Precision
    error: float
    cosine: float
    same_argmax: float

    @property
    def holds(self) -> bool:
        """True where the engine computed what it was asked to, in its precision."""
        bound = self.precision
        near = self.error <= bound.largest_error and self.cosine >= bound.least_cosine
        return near and self.same_argmax >= bound.least_same

    def __str__(self) -> str:
        return f"relative error {self.error:.1e}, cosine {self.cosine:.3f}, arg-max equal for {self.same_argmax:.0%}"


def agreement(output: Array, reference: Array, precision: Precision) -> Agreement:
    """output[b,...] against reference[b,...]; an infinite error for another shape or what is not finite."""
    if output.shape != reference.shape or not np.isfinite(output).all():
        return Agreement(precision, float("inf"), 0.0, 0.0)
    got, expected = output.astype(np.float64), reference.astype(np.float64)
    error = np.abs(got - expected).max() / np.abs(expected).max()
    same = (got.argmax(axis=-1) == expected.argmax(axis=-1)).mean()
    return Agreement(precision, float(error), _least_cosine(_own(got), _own(expected)), float(same))


def _own(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """values[b,...] as [b,n] without what all images have in common."""
    own: NDArray[np.float64] = (values - values.mean(axis=0)).reshape(len(values), -1)
    return own


def _least_cosine(got: NDArray[np.float64], expected: NDArray[np.float64]) -> float:
    """Over the images of which the reference says anything of their own; 1 where there is none, as for one alone."""
    lengths = np.linalg.norm(got, axis=1) * np.linalg.norm(expected, axis=1)
    products = (got * expected).sum(axis=1)
    cosines = np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
    return float(cosines[expected.any(axis=1)].min(initial=1.0))
