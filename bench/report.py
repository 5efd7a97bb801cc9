"""What a comparison says: a Markdown table, JSON, and a plot where matplotlib is installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from alula.cli.report import json_bytes
from alula.core.files import atomic_write
from bench.compare import Comparison
from bench.engines import ENGINES
from bench.measure import ratios

OURS = "alula"
LEAST_SHARE = 0.75  # of the threads, that some engine has to have had for its setting to count as undisturbed
COLUMNS = ("batch", "threads", "engine", "ms", "ms an image", "images/s", "of peak", "cores", "Alula / engine", "error")


def brief(result: Comparison) -> str:
    """One line: every engine's milliseconds, or its error where it was refused."""
    times = {name: f"{timing.median_s * 1e3:.1f} ms" for name, timing in result.timings.items()}
    return ", ".join(f"{name} {times.get(name, f'refused: {found}')}" for name, found in result.agreements.items())


def figures(results: Sequence[Comparison], macs: dict[str, int], machine: dict[str, Any]) -> dict[str, Any]:
    """Everything measured, ready for JSON; `macs` are a subject's multiply-adds for one image."""
    rows = [row for result in results for row in _rows(result, macs[result.subject], machine["peak_f32_gflops"])]
    return {"machine": machine, "results": rows}


def _rows(result: Comparison, macs: int, peaks: dict[str, float]) -> Iterator[dict[str, Any]]:
    ours = result.timings.get(OURS)
    for name, agreement in result.agreements.items():
        row: dict[str, Any] = {
            "model": result.subject,
            "batch": result.batch,
            "threads": result.threads,
            "engine": name,
            "error": agreement.error if np.isfinite(agreement.error) else None,
            "same_argmax": agreement.same_argmax,
            "refused": not agreement.holds,
        }
        if (timing := result.timings.get(name)) is not None:
            gflops = 2 * macs * result.batch / timing.median_s / 1e9
            row |= {
                "median_ms": timing.median_s * 1e3,
                "least_ms": float(timing.seconds.min()) * 1e3,
                "images_per_s": result.batch / timing.median_s,
                "peak_fraction": gflops / peaks[str(result.threads)],
                "busy_cores": timing.cores,
                "round_ms": (timing.rounds * 1e3).tolist(),
                "alula_ratio": None,
            }
            if ours is not None and name != OURS:
                of_rounds = ratios(ours, timing)
                row["alula_ratio"] = {
                    "median": float(np.median(of_rounds)),
                    "min": float(of_rounds.min()),
                    "max": float(of_rounds.max()),
                }
        yield row


def markdown(found: dict[str, Any], plot: str | None = None) -> str:
    """The page: the machine, one table for each model, and how to read it."""
    machine = found["machine"]
    peaks = ", ".join(f"{value:.0f} GFLOP/s on {count}" for count, value in machine["peak_f32_gflops"].items())
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    lines = [
        "# Alula beside other engines",
        "",
        f"{machine['processor']}, {machine['cores']} cores, target {machine['target']}; {machine['date']}.",
        f"Measured float32 peak by threads: {peaks}. Load average before: {machine['load_average']:.1f}.",
        f"Versions: {versions}.",
        "",
    ]
    for model in dict.fromkeys(row["model"] for row in found["results"]):
        lines += [f"## {model}", "", _line(COLUMNS), _line(["---"] * len(COLUMNS))]
        rows = [row for row in found["results"] if row["model"] == model]
        lines += [_line(_cells(row)) for row in rows] + [""] + disturbed(rows)
    if plot:
        lines += [f"![milliseconds an image]({plot})", ""]
    lines += [
        "Same weights, same input. Engines take turns, each in a process of its own, with one untimed run before the",
        "timed ones. `ms` is the median of the rounds' medians, the ratio the median (least to most) of the rounds'",
        "ratios: below 1 Alula is faster. `cores` is CPU time over time: below `threads`, others had the processor or",
        "the engine waited. `error` is the largest difference to PyTorch over the largest output; an engine beyond the",
        "bound, or with another arg-max, is not timed. `of peak` counts Alula's multiply-adds for every engine.",
        "`make bench` writes this page.",
        "",
    ]
    return "\n".join(lines)


def disturbed(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A warning for each setting in which no engine had its threads' worth of processor: ratios there mean nothing."""
    shares: dict[tuple[int, int], list[float]] = {}
    for row in rows:
        if not row["refused"]:
            shares.setdefault((row["batch"], row["threads"]), []).append(row["busy_cores"] / row["threads"])
    lines = [
        f"**Batch {batch}, {threads} threads: disturbed.** No engine had more than {max(found):.0%} of the "
        "processor that it asked for, so other work was running: "
        "neither times nor ratios of these rows are to be relied on."
        for (batch, threads), found in shares.items()
        if max(found) < LEAST_SHARE
    ]
    return [part for line in lines for part in (line, "")]


def _cells(row: dict[str, Any]) -> list[str]:
    start = [str(row["batch"]), str(row["threads"]), ENGINES[row["engine"]].title]
    error = "-" if row["error"] is None else f"{row['error']:.1e}"
    if row["refused"]:
        return [*start, "refused: wrong answer", "-", "-", "-", "-", "-", error]
    ratio = row["alula_ratio"]
    return [
        *start,
        f"{row['median_ms']:.1f}",
        f"{row['median_ms'] / row['batch']:.1f}",
        f"{row['images_per_s']:.1f}",
        f"{row['peak_fraction']:.0%}",
        f"{row['busy_cores']:.2f}",
        f"{ratio['median']:.2f} ({ratio['min']:.2f}-{ratio['max']:.2f})" if ratio else "-",
        error,
    ]


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write_report(found: dict[str, Any], folder: Path) -> list[Path]:
    """Writes engines.json, engines.md and, where matplotlib is installed, engines.svg; gives the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    written = [folder / "engines.json", folder / "engines.md"]
    if find_spec("matplotlib") is not None:
        written.append(folder / "engines.svg")
        _plot(found, written[-1])
    plot = written[2].name if len(written) > 2 else None
    for path, content in zip(written, (json_bytes(found), markdown(found, plot).encode()), strict=False):
        with atomic_write(path) as file:
            file.write(content)
    return written


def _plot(found: dict[str, Any], path: Path) -> None:
    """Milliseconds an image: a group of bars for each setting, a bar for each engine."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    timed = [row for row in found["results"] if not row["refused"]]
    settings = list(dict.fromkeys(_setting(row) for row in timed))
    names = list(dict.fromkeys(row["engine"] for row in timed))
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "alula"}):
        figure = Figure(figsize=(3 + 2.2 * len(settings), 4), layout="constrained")
        axes = figure.add_subplot()
        for place, name in enumerate(names):
            rows = [row for row in timed if row["engine"] == name]
            spots = [settings.index(_setting(row)) + (place - (len(names) - 1) / 2) * 0.8 / len(names) for row in rows]
            heights = [row["median_ms"] / row["batch"] for row in rows]
            bars = axes.bar(spots, heights, 0.8 / len(names), label=ENGINES[name].title)
            axes.bar_label(bars, fmt="%.0f", fontsize=8)
        axes.set_xticks(range(len(settings)), settings)
        axes.set_ylabel("ms an image")
        axes.set_title(f"{found['machine']['processor']}, {found['machine']['date']}", fontsize=9)
        axes.legend(fontsize=8)
        with atomic_write(path) as file:
            figure.savefig(file, format="svg", metadata={"Date": None})


def _setting(row: dict[str, Any]) -> str:
    return f"{row['model']}\nbatch {row['batch']}, threads {row['threads']}"
