"""What a comparison says, ready for JSON, and its files: JSON, a page, and a plot where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alula.cli.perf import PEAK_DTYPE
from alula.cli.report import json_bytes
from alula.core.files import atomic_write
from bench.compare import Comparison
from bench.engines import ENGINES
from bench.measure import Timing, ratios
from bench.page import markdown
from bench.plot import plot
from bench.precision import PRECISIONS

OURS = [name for name, kind in ENGINES.items() if kind.package == "alula"]
Peaks = dict[str, dict[str, float]]  # by element type, then by thread count


def brief(result: Comparison) -> str:
    """One line: every engine's milliseconds, or its error where it was refused."""
    times = {name: f"{timing.median_s * 1e3:.1f} ms" for name, timing in result.timings.items()}
    return ", ".join(f"{name} {times.get(name, f'refused: {found}')}" for name, found in result.agreements.items())


def figures(results: Sequence[Comparison], macs: dict[str, int], machine: dict[str, Any]) -> dict[str, Any]:
    """Everything measured, ready for JSON; `macs` are a subject's multiply-adds for one image.

    `against_best` has a row for each setting and precision in which both Alula and another engine were timed.
    """
    rows = [row for result in results for row in _rows(result, macs[result.subject], machine["peak_gflops"])]
    best = [row for result in results for row in _against_best(result)]
    return {"machine": machine, "against_best": best, "results": rows}


def _against_best(result: Comparison) -> Iterator[dict[str, Any]]:
    for precision in PRECISIONS:
        ours, others = _fastest(result, precision, ours=True), _fastest(result, precision, ours=False)
        if ours is None or others is None:
            continue
        best, timing = others
        yield _setting(result) | {
            "precision": precision,
            "alula_ms": ours[1].median_s * 1e3,
            "best": best,
            "best_ms": timing.median_s * 1e3,
            "alula_ratio": _spread(ratios(ours[1], timing)),
        }


def _fastest(result: Comparison, precision: str, *, ours: bool) -> tuple[str, Timing] | None:
    """The fastest engine of a precision among ours or the others; None where none was timed."""
    timings = {
        name: found
        for name, found in result.timings.items()
        if _precision(name) == precision and (name in OURS) is ours
    }
    return min(timings.items(), key=lambda item: item[1].median_s, default=None)


def _rows(result: Comparison, macs: int, peaks: Peaks) -> Iterator[dict[str, Any]]:
    for name, agreement in result.agreements.items():
        row = _setting(result) | {
            "engine": name,
            "precision": _precision(name),
            "error": agreement.error if np.isfinite(agreement.error) else None,
            "cosine": agreement.cosine,
            "same_argmax": agreement.same_argmax,
            "refused": not agreement.holds,
        }
        if (timing := result.timings.get(name)) is not None:
            row |= _times(name, timing, result, macs, peaks)
        yield row


def _times(name: str, timing: Timing, result: Comparison, macs: int, peaks: Peaks) -> dict[str, Any]:
    ours = _fastest(result, _precision(name), ours=True)
    gflops = 2 * macs * result.batch / timing.median_s / 1e9
    dtype = PEAK_DTYPE.get(PRECISIONS[_precision(name)].mode, "")
    peak = peaks.get(dtype, {}).get(str(result.threads))
    return {
        "median_ms": timing.median_s * 1e3,
        "least_ms": float(timing.seconds.min()) * 1e3,
        "images_per_s": result.batch / timing.median_s,
        "peak_fraction": None if peak is None else gflops / peak,
        "busy_cores": timing.cores,
        "round_ms": (timing.rounds * 1e3).tolist(),
        "alula_ratio": _spread(ratios(ours[1], timing)) if ours is not None and name not in OURS else None,
    }


def _precision(engine: str) -> str:
    return ENGINES[engine].precision.name


def _setting(result: Comparison) -> dict[str, Any]:
    return {"model": result.subject, "batch": result.batch, "threads": result.threads}


def _spread(values: NDArray[np.float64]) -> dict[str, float]:
    return {"median": float(np.median(values)), "min": float(values.min()), "max": float(values.max())}


def write_report(found: dict[str, Any], folder: Path) -> list[Path]:
    """Writes engines.json, engines.md and, where matplotlib is installed, engines.svg; gives the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "engines.json", folder / "engines.md"]
    picture = None
    if find_spec("matplotlib") is not None:
        written.append(folder / "engines.svg")
        plot(found, written[-1])
        picture = written[-1].name
    for path, content in zip(written, (json_bytes(found), markdown(found, picture).encode()), strict=False):
        with atomic_write(path) as file:
            file.write(content)
    return written
