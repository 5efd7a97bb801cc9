"""The picture of a comparison."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from alula.core.files import atomic_write
from bench.engines import ENGINES
from bench.precision import PRECISIONS

BAR = 0.16  # of a setting's width, which has room for the five engines of int8


def plot(found: dict[str, Any], path: Path) -> None:
    """Milliseconds an image: an axis for each precision, a group of bars for each setting, a bar for each engine."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    timed = [row for row in found["results"] if not row["refused"]]
    settings = list(dict.fromkeys(map(_setting, timed)))
    precisions = [name for name in PRECISIONS if any(row["precision"] == name for row in timed)]
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "alula"}):
        figure = Figure(figsize=(4 + 2 * len(settings), 1 + 2.4 * max(1, len(precisions))), layout="constrained")
        grid = figure.subplots(max(1, len(precisions)), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
        for axes, precision in zip(grid, precisions, strict=False):
            _bars(axes, [row for row in timed if row["precision"] == precision], settings)
            axes.set_title(precision, fontsize=9, loc="left")
        grid[-1].set_xticks(range(len(settings)), settings)
        figure.suptitle(f"{found['machine']['processor']}, {found['machine']['date']}", fontsize=9)
        with atomic_write(path) as file:
            figure.savefig(file, format="svg", metadata={"Date": None})


def _bars(axes: Any, rows: list[dict[str, Any]], settings: list[str]) -> None:
    names = list(dict.fromkeys(row["engine"] for row in rows))
    for place, name in enumerate(names):
        of_engine = [row for row in rows if row["engine"] == name]
        spots = [settings.index(_setting(row)) + (place - (len(names) - 1) / 2) * BAR for row in of_engine]
        heights = [row["median_ms"] / row["batch"] for row in of_engine]
        bars = axes.bar(spots, heights, BAR, label=ENGINES[name].title)
        axes.bar_label(bars, fmt="%.3g", fontsize=8)
    axes.set_ylabel("ms an image")
    axes.margins(y=0.15)  # for the numbers over the bars
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1, 0.5))


def _setting(row: dict[str, Any]) -> str:
    return f"{row['model']}\nbatch {row['batch']}, threads {row['threads']}"
