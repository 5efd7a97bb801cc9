"""Resampling without antialiasing: what OpenCV does when it shrinks, and Pillow's kernels at their own width."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from alula.core.preprocess import Library, Resampling

Pixels = NDArray[np.uint8]
Indices = NDArray[np.int64]
Weights = NDArray[np.float64]
WHITE = 255


@dataclass(frozen=True, slots=True)
class Span:
    """Along one side: pixels `start` to `start + count` of `source` pixels resized to `target`."""

    source: int
    target: int
    start: int
    count: int


@dataclass(frozen=True, slots=True)
class Kernel:
    """`weight` of a distance in source pixels, zero from `radius` on."""

    radius: int
    weight: Callable[[Weights], Weights]


def resampled(picture: Pixels, rows: Span, columns: Span, resampling: Resampling, library: Library) -> Pixels:
    """x[h, w, 3] -> y[rows.count, columns.count, 3]: a window of the resized picture, not antialiased.

    `opencv`: cubic with a = -0.75 or linear, edge pixels repeated, rounded once, as cv2.resize with INTER_CUBIC and
    INTER_LINEAR; its fixed-point versions are up to one level away.  `pillow`: the kernels of Image.resize as it
    enlarges with them: weights renormalised at the edges, rounded after the columns and again after the rows.
    Nearest takes the pixel at the target pixel's corner, as OpenCV does.
    """
    if resampling == "nearest":
        return picture[_corners(rows)][:, _corners(columns)]
    kernel, edge = KERNELS[library, resampling], library == "opencv"
    across = _weighted(picture, *_taps(columns, kernel, repeat_edge=edge), axis=1)
    if library == "pillow":
        across = _rounded(across)
    return _rounded(_weighted(across, *_taps(rows, kernel, repeat_edge=edge), axis=0)).astype(np.uint8)


def _corners(span: Span) -> Indices:
    return np.arange(span.start, span.start + span.count) * span.source // span.target


def _taps(span: Span, kernel: Kernel, repeat_edge: bool) -> tuple[Indices, Weights]:
    """Source indices[count, taps] and their weights, centres aligned; beyond an edge it is repeated or weighs 0."""
    centres = (np.arange(span.start, span.start + span.count) + 0.5) * (span.source / span.target) - 0.5
    indices = np.floor(centres).astype(np.int64)[:, None] + np.arange(1 - kernel.radius, kernel.radius + 1)
    weights = kernel.weight(np.abs(indices - centres[:, None]))
    if not repeat_edge:
        weights = weights * ((indices >= 0) & (indices < span.source))
        weights /= weights.sum(axis=1, keepdims=True)
    return np.clip(indices, 0, span.source - 1), weights


def _weighted(picture: NDArray[np.uint8 | np.float64], indices: Indices, weights: Weights, axis: int) -> Weights:
    """The sum over the taps of weight * pixel, along `axis`."""
    column = (-1, 1, 1) if axis == 0 else (1, -1, 1)
    taps = zip(indices.T, weights.T, strict=True)
    terms = [picture.take(index, axis=axis) * weight.reshape(column) for index, weight in taps]
    return np.asarray(np.add.reduce(terms), np.float64)


def _rounded(values: Weights) -> Weights:
    return np.clip(np.floor(values + 0.5), 0, WHITE)


def _linear(distance: Weights) -> Weights:
    return np.maximum(0.0, 1.0 - distance)


def _cubic(a: float) -> Callable[[Weights], Weights]:
    """Keys' cubic convolution (1981), equations 14 and 15 with a free `a`."""

    def weight(distance: Weights) -> Weights:
        near = ((a + 2) * distance - (a + 3)) * distance**2 + 1
        far = a * (((distance - 5) * distance + 8) * distance - 4)
        return np.where(distance <= 1, near, np.where(distance < 2, far, 0.0))

    return weight


def _lanczos3(distance: Weights) -> Weights:
    return np.where(distance < 3, np.sinc(distance) * np.sinc(distance / 3), 0.0)


KERNELS: dict[tuple[Library, Resampling], Kernel] = {
    ("pillow", "bilinear"): Kernel(1, _linear),
    ("pillow", "bicubic"): Kernel(2, _cubic(-0.5)),
    ("pillow", "lanczos"): Kernel(3, _lanczos3),
    ("opencv", "bilinear"): Kernel(1, _linear),
    ("opencv", "bicubic"): Kernel(2, _cubic(-0.75)),
}
