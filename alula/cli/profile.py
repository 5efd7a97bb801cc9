"""What `alula perf --profile` shows: where the time of a model goes, kernel by kernel, and a trace of one run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alula.cli.peaks import ideal_ms
from alula.core.dtype import Array
from alula.core.files import atomic_write

if TYPE_CHECKING:
    from alula.codegen.program import StepInfo
    from alula.runtime.session import Session

RUNS = 15
SCALINGS = (  # how sums of whole numbers are scaled: by each row, with or without a bias, or all by one number
    ("cast", "add", "mul", "mul", "add"),
    ("cast", "add", "mul", "mul"),
    ("cast", "mul", "add"),
)


@dataclass(frozen=True, slots=True)
class Profile:
    """Seconds[steps] of a run of middling length; medians of the profiled runs and of the plain ones between them."""

    seconds: NDArray[np.float64]
    profiled_s: float
    plain_s: float


def measured_steps(session: Session, inputs: Sequence[Array]) -> Profile:
    """Plain and profiled runs in turn; the steps' times are means over the middle third of the profiled ones.

    So the steps add up to a run that took place, and one that was disturbed counts for nothing.
    """
    plain, runs = np.empty(RUNS), np.empty((RUNS, len(session.steps)))
    for turn in range(RUNS):
        began = perf_counter()
        session.run(*inputs)
        plain[turn] = perf_counter() - began
        runs[turn] = session.profile(*inputs)
    totals = runs.sum(axis=1)
    middle = np.argsort(totals)[RUNS // 3 : RUNS - RUNS // 3]
    seconds: NDArray[np.float64] = runs[middle].mean(axis=0)
    return Profile(seconds, float(np.median(totals)), float(np.median(plain)))


def table(
    steps: Sequence[StepInfo], seconds: NDArray[np.float64], batch: int, peaks: Mapping[str, float]
) -> list[dict[str, Any]]:
    """One row for each kernel on each shape, the slowest first; `peaks` are in G operations a second."""
    alike: dict[tuple[str, str, str], list[int]] = {}
    for number, step in enumerate(steps):
        alike.setdefault((step.label, step.arithmetic, step.shape), []).append(number)
    rows = [_row([steps[n] for n in group], float(seconds[group].sum()), batch, peaks) for group in alike.values()]
    return sorted(rows, key=lambda row: -row["ms"])


def _row(steps: Sequence[StepInfo], seconds: float, batch: int, peaks: Mapping[str, float]) -> dict[str, Any]:
    label, arithmetic, shape = steps[0].label, steps[0].arithmetic, steps[0].shape
    macs, bytes = (batch * sum(values) for values in zip(*((step.macs, step.bytes) for step in steps), strict=True))
    done = macs - batch * sum(step.saved for step in steps)
    row = {"op": short_label(label, arithmetic), "label": label, "arithmetic": arithmetic, "shape": shape}
    return row | {
        "count": len(steps),
        "ms": seconds * 1e3,
        "macs": macs,
        "bytes": bytes,
        "gops": 2 * done / seconds / 1e9 if seconds else 0.0,
        "gbps": bytes / seconds / 1e9 if seconds else 0.0,
        "peak_fraction": ideal_ms(steps, batch, peaks) / seconds / 1e3 if macs and seconds else None,
    }


def short_label(label: str, arithmetic: str) -> str:
    """linear+cast+add+mul+mul+add+gelu in int8 -> linear[int8]+gelu: scaling whole numbers goes without saying."""
    anchor, *rest = label.split("+")
    if arithmetic == "f32":
        return label
    whole = arithmetic in ("int16", "int8")
    scaling = next((ops for ops in SCALINGS if whole and tuple(rest[: len(ops)]) == ops), ())
    return "+".join([f"{anchor}[{arithmetic}]", *rest[len(scaling) :]])


def write_trace(path: Path, steps: Sequence[StepInfo], seconds: NDArray[np.float64]) -> None:
    """`trace_bytes` as a file."""
    with atomic_write(path) as file:
        file.write(trace_bytes(steps, seconds))


def trace_bytes(steps: Sequence[StepInfo], seconds: NDArray[np.float64]) -> bytes:
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
            "args": {"shape": step.shape, "kernel": step.kernel, "macs": step.macs, "bytes": step.bytes},
        }
        for step, start, time in zip(steps, starts, seconds, strict=True)
    ]
    return json.dumps({"traceEvents": events}).encode()


def print_table(rows: Sequence[dict[str, Any]]) -> None:
    """The rows, and what they add up to, every column as wide as it needs to be."""
    lines = [("op", "writes", "count", "ms", "GOP/s", "of peak", "MB", "GB/s"), *map(_cells, rows)]
    count, ms, bytes = (sum(row[key] for row in rows) for key in ("count", "ms", "bytes"))
    lines.append(("sum", "", str(count), f"{ms:.3f}", "", "", f"{bytes / 1e6:.1f}", ""))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    print()
    for line in lines:
        cells = [
            text.ljust(width) if n < 2 else text.rjust(width)
            for n, (text, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  ".join(cells).rstrip())


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    speed = f"{row['gops']:.0f}" if row["macs"] else ""
    share = "" if row["peak_fraction"] is None else f"{row['peak_fraction']:.0%}"
    amounts = f"{row['bytes'] / 1e6:.1f}", f"{row['gbps']:.1f}"
    return row["op"], row["shape"], str(row["count"]), f"{row['ms']:.3f}", speed, share, *amounts
