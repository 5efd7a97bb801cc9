"""What calibration found, in memory and as a file that people can read, edit and build with again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from alula.core.errors import UsageError
from alula.core.files import atomic_write
from alula.ir.graph import Graph
from alula.quant.histogram import Floats
from alula.quant.moments import Moments
from alula.quant.ranges import Range
from alula.quant.thresholds import ALGORITHMS

VERSION = 1
DIGITS = 7  # of a number in a file: a float32's
VECTORS = ("low", "high", "mean")
FACTORS, BY_ROWS, MOMENTS = "factors", "by rows", "moments"


@dataclass(frozen=True, slots=True)
class Activation:
    """Of one activation: a range by each algorithm, and of each channel, f64[c], its ends and its mean.

    With `factors` f64[c] the channels are divided by them before they become bytes: ranges are of what is then there.
    With `by_rows` each row finds its own scale instead.  Weights are rounded by `moments`, of the divided channels too.
    """

    ranges: Mapping[str, Range]
    low: Floats
    high: Floats
    mean: Floats
    factors: Floats | None = None
    by_rows: bool = False
    moments: Moments | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """What `images` inputs showed of the activations of one graph, which `digest` names; activations by name."""

    digest: str
    images: int
    activations: Mapping[str, Activation] = field(default_factory=dict)

    def check(self, graph: Graph) -> None:
        """Raises UsageError for a graph that this was not made with: its names mean other nodes there."""
        digest = graph_digest(graph)
        if digest != self.digest:
            raise UsageError(
                f"calibration: expected the one of graph {digest[:12]}, got one of {self.digest[:12]} "
                "(another model, preprocessing or version: calibrate again)"
            )

    def save(self, path: Path) -> None:
        """Writes the file, atomically."""
        with atomic_write(path) as file:
            file.write(self.text().encode())

    def as_saved(self) -> Calibration:
        """The same with the digits that a file keeps: what is built with either has the same bytes."""
        return self._from_json(json.loads(self.text()))

    def text(self) -> str:
        """JSON of which each line says one thing."""
        rounded = {name: _plain(activation) for name, activation in self.activations.items()}
        lines = [f' "version": {VERSION},', f' "graph": {json.dumps(self.digest)},', f' "images": {self.images},']
        entries = []
        for name, plain in rounded.items():
            parts = ",\n".join(f"   {json.dumps(key)}: {json.dumps(value)}" for key, value in plain.items())
            entries.append(f"  {json.dumps(name)}: {{\n{parts}\n  }}")
        return "\n".join(["{", *lines, ' "activations": {', ",\n".join(entries), " }", "}", ""])

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """The calibration of a file.  Raises UsageError, saying where, for one that cannot be read or is none."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"calibration {path}: expected a file, got {error.strerror or error}") from error
        except ValueError as error:
            raise UsageError(f"calibration {path}: expected JSON, got {' '.join(str(error).split())}") from error
        try:
            return cls._from_json(content)
        except UsageError as error:
            raise UsageError(f"calibration {path}: {error}") from None

    @classmethod
    def _from_json(cls, content: Any) -> Calibration:
        if not isinstance(content, dict) or content.get("version") != VERSION:
            got = content.get("version") if isinstance(content, dict) else type(content).__name__
            raise UsageError(f"expected version {VERSION}, got {got!r}")
        digest, images, found = (content.get(key) for key in ("graph", "images", "activations"))
        if not isinstance(digest, str) or not isinstance(images, int) or not isinstance(found, dict):
            raise UsageError("expected a graph, images and activations, got others")
        return cls(digest, images, {name: _activation(name, plain) for name, plain in found.items()})


def graph_digest(graph: Graph) -> str:
    """SHA-256 over what the graph computes: its text, without its name and the sizes that it serves, and constants."""
    _, text = str(graph).split("\n", 1)
    digest = hashlib.sha256(text.encode())
    for value in graph.constants():
        assert value.data is not None
        digest.update(np.ascontiguousarray(value.data).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _plain(activation: Activation) -> dict[str, Any]:
    ranges = {f"range {name}": [_rounded(r.low), _rounded(r.high)] for name, r in activation.ranges.items()}
    keys = VECTORS if activation.factors is None else (*VECTORS, FACTORS)
    vectors = {key: [_rounded(number) for number in getattr(activation, key)] for key in keys}
    moments = {} if activation.moments is None else {MOMENTS: activation.moments.text}
    return {BY_ROWS: activation.by_rows} | ranges | vectors | moments


def _rounded(number: float) -> float:
    return float(f"{number:.{DIGITS}g}")


def _activation(name: str, plain: Any) -> Activation:
    expected = {BY_ROWS} | {f"range {algorithm}" for algorithm in ALGORITHMS} | set(VECTORS)
    if not isinstance(plain, dict) or set(plain) - {FACTORS, MOMENTS} != expected:
        raise UsageError(f"{name}: expected {', '.join(sorted(expected))}, got others")
    if not isinstance(plain[BY_ROWS], bool):
        raise UsageError(f"{name} {BY_ROWS}: expected true or false, got {plain[BY_ROWS]!r}")
    ranges = {algorithm: _range(name, plain[f"range {algorithm}"]) for algorithm in ALGORITHMS}
    low, high, mean = (_numbers(name, key, plain[key]) for key in VECTORS)
    factors = _numbers(name, FACTORS, plain[FACTORS]) if FACTORS in plain else None
    lengths = [len(vector) for vector in (low, high, mean, factors) if vector is not None]
    if len(set(lengths)) != 1:
        raise UsageError(f"{name}: expected vectors of one length, got {lengths}")
    if factors is not None and not (factors > 0).all():
        raise UsageError(f"{name} {FACTORS}: expected positive numbers, got others")
    moments = _moments(name, plain[MOMENTS], len(mean)) if MOMENTS in plain else None
    return Activation(ranges, low, high, mean, factors, plain[BY_ROWS], moments)


def _range(name: str, ends: Any) -> Range:
    numbers = _numbers(name, "range", ends)
    if len(numbers) != 2 or not numbers[0] <= 0 <= numbers[1]:
        raise UsageError(f"{name}: expected a range of a low of at most 0 and a high of at least 0, got {ends}")
    return Range(float(numbers[0]), float(numbers[1]))


def _moments(name: str, text: Any, channels: int) -> Moments:
    try:
        return Moments.of_text(text, channels)
    except (TypeError, ValueError):
        raise UsageError(f"{name} {MOMENTS}: expected base64 of float16 for {channels} channels, got others") from None


def _numbers(name: str, key: str, values: Any) -> Floats:
    plain = isinstance(values, list) and all(type(value) in (int, float) for value in values)
    numbers = np.array(values, np.float64) if plain else np.full(1, np.nan)
    if not np.isfinite(numbers).all():
        raise UsageError(f"{name} {key}: expected finite numbers, got others")
    return numbers
