"""Which channels are large together: E[x x^T] by a few directions and what every channel has besides."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field

import numpy as np

from alula.core.dtype import Array
from alula.quant.histogram import Floats

DIRECTIONS = 24  # at most: more of them hardly lower what rounding moves results by
PROBES = 64  # vectors that E[x x^T] is seen through
LEAST = 1e-9  # of the largest eigenvalue: smaller ones are what arithmetic rounds


@dataclass(frozen=True, slots=True)
class Moments:
    """E[x x^T], but for a factor, is about shared @ shared.T + diag(own**2): shared f64[c,r], own f64[c]."""

    shared: Floats
    own: Floats

    def split(self, groups: int) -> list[Moments]:
        """Those of each group of channels."""
        parts = zip(np.split(self.shared, groups), np.split(self.own, groups), strict=True)
        return [Moments(shared, own) for shared, own in parts]

    @property
    def text(self) -> str:
        """Base64 of float16[c,r+1], the last column being `own`."""
        return base64.b64encode(np.column_stack((self.shared, self.own)).astype("<f2").tobytes()).decode()

    @classmethod
    def of_text(cls, text: str, channels: int) -> Moments:
        """Raises ValueError for what is no such text of that many channels."""
        columns = np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float64).reshape(channels, -1)
        if not columns.size or not np.isfinite(columns).all():
            raise ValueError
        return cls(columns[:, :-1], columns[:, -1])


@dataclass(slots=True)
class Sketch:
    """The sum of x (x . p) over x[c] and random p, f64[c,p]: all that a stream needs to keep of E[x x^T].

    Source: Halko, Martinsson and Tropp, arXiv 0909.4061, section 5.5 (a single pass, the Nystrom method).
    """

    channels: int
    sums: Floats = field(init=False)
    probes: Array = field(init=False)

    def __post_init__(self) -> None:
        shape = self.channels, min(self.channels, PROBES)
        self.probes = np.random.default_rng(0).standard_normal(shape, np.float32)
        self.sums = np.zeros(shape)

    def take(self, rows: Array) -> None:
        """Takes rows[n,c], float32."""
        self.sums += rows.T @ (rows @ self.probes)

    def moments(self, squares: Floats, s: Floats) -> Moments | None:
        """Of x / s, where `squares` f64[c] are the sums of x**2; None where all of them are 0."""
        seen = self.sums / s[:, None]
        among = self.probes.T @ self.sums
        values, vectors = np.linalg.eigh((among + among.T) / 2)
        told = values > LEAST * values[-1]
        if not values[-1] > 0:
            return None
        root = seen @ (vectors[:, told] / np.sqrt(values[told]))
        directions, lengths, _ = np.linalg.svd(root, full_matrices=False)
        shared = (directions * lengths)[:, :DIRECTIONS]
        squares = squares / s**2
        own = np.sqrt(np.maximum(squares - np.square(shared).sum(axis=1), 0.0))
        unit = np.sqrt(squares.max())
        return Moments(shared / unit, own / unit)
