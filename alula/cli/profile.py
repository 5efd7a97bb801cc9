"""What `alula perf --profile` shows: where the time of a model goes, kernel by kernel, and a trace of one run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alula.core.dtype import Array
from alula.core.files import atomic_write

if TYPE_CHECKING:
    from alula.codegen.program import StepInfo
    from alula.runtime.session import Session

RUNS = 15


def measured_steps(session: Session, inputs: Sequence[Array]) -> NDArray[np.float64]:
    """Seconds[steps]: the median of each step over a few runs."""
    median: NDArray[np.float64] = np.median([session.profile(*inputs) for _ in range(RUNS)], axis=0)
    return median


def table(
    steps: Sequence[StepInfo], seconds: NDArray[np.float64], batch: int, peak: float | None
) -> list[dict[str, Any]]:
    """One row for each kernel on each shape, the slowest first; `peak` is in G operations a second."""
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for step, time in zip(steps, seconds, strict=True):
        row = rows.setdefault(
            (step.label, step.shape), {"op": step.label, "shape": step.shape, "count": 0, "ms": 0.0, "macs": 0}
        )
        row["count"] += 1
        row["ms"] += float(time) * 1e3
        row["macs"] += step.macs * batch
    for row in rows.values():
        row["gops"] = 2 * row["macs"] / row["ms"] / 1e6 if row["ms"] else 0.0
        row["peak_fraction"] = row["gops"] / peak if peak else None
    return sorted(rows.values(), key=lambda row: -row["ms"])


def write_trace(path: Path, steps: Sequence[StepInfo], seconds: NDArray[np.float64]) -> None:
    """One run in the Trace Event Format that Chrome's about:tracing and Perfetto read; times in microseconds."""
    starts = np.concatenate([[0.0], np.cumsum(seconds)[:-1]])
    events = [
        {
            "name": step.label,
            "ph": "X",
            "pid": 1,
            "tid": 1,
            "ts": float(start) * 1e6,
            "dur": float(time) * 1e6,
            "args": {"shape": step.shape, "kernel": step.kernel, "macs": step.macs},
        }
        for step, start, time in zip(steps, starts, seconds, strict=True)
    ]
    with atomic_write(path) as file:
        file.write(json.dumps({"traceEvents": events}).encode())


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """The rows, and what they add up to."""
    print(f"\n{'op':<28} {'writes':<24} {'count':>5} {'ms':>9} {'GOP/s':>8} {'of peak':>8}")
    for row in rows:
        share = "" if row["peak_fraction"] is None or not row["macs"] else f"{row['peak_fraction']:.0%}"
        speed = f"{row['gops']:.1f}" if row["macs"] else ""
        print(f"{row['op']:<28} {row['shape']:<24} {row['count']:>5} {row['ms']:>9.3f} {speed:>8} {share:>8}")
    print(f"{'sum':<28} {'':<24} {sum(row['count'] for row in rows):>5} {sum(row['ms'] for row in rows):>9.3f}")
