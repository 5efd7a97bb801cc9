"""`alula perf compare`: whether two measurements differ by more than their noise."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np

from alula.cli.options import add_json, check_writable
from alula.cli.report import write_json
from alula.cli.statistics import Samples, difference_p, ratio_interval
from alula.core.errors import UsageError

HELP = "whether two files of `alula perf --json` differ by more than noise"
SIGNIFICANT = 0.05
SETTINGS = ("precision", "target", "threads", "streams", "scenario", "macs")


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("before", type=Path, metavar="A.json", help="what to compare with")
    parser.add_argument("after", type=Path, metavar="B.json", help="what may be faster or slower")
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints both medians, their ratio with its interval, and the verdict; 0 whatever it is."""
    check_writable(arguments.json)
    before, after = (_read(path) for path in (arguments.before, arguments.after))
    if before["batch_size"] != after["batch_size"]:
        raise UsageError(
            f"measurement {arguments.after}: expected a batch of {before['batch_size']} as in {arguments.before}, "
            f"got {after['batch_size']}"
        )
    figures = compared(_runs(before), _runs(after))
    figures["settings"] = {key: [before.get(key), after.get(key)] for key in SETTINGS}
    _print(arguments, figures)
    write_json(arguments.json, figures)
    return 0


def compared(before: Samples, after: Samples) -> dict[str, Any]:
    """Medians in ms, `ratio` after over before with its 95 % interval, p, and whether that is `significant`."""
    medians = float(np.median(before)), float(np.median(after))
    low, high = ratio_interval(after, before)
    p = difference_p(before, after)
    return {
        "p50_ms": list(medians),
        "runs": [len(before), len(after)],
        "ratio": medians[1] / medians[0],
        "ratio_low": low,
        "ratio_high": high,
        "p": p,
        "significant": p < SIGNIFICANT and not low <= 1 <= high,
    }


def _read(path: Path) -> dict[str, Any]:
    try:
        figures = json.loads(path.read_bytes())
    except ValueError as error:
        raise UsageError(f"measurement {path}: expected JSON, got {error}") from None
    runs = figures.get("runs_ms") if isinstance(figures, dict) else None
    numbers = isinstance(runs, list) and all(type(value) in (int, float) and value > 0 for value in runs)
    if not runs or not numbers or type(figures.get("batch_size")) is not int:
        raise UsageError(f"measurement {path}: expected a file of `alula perf --json` with runs_ms, got none")
    found: dict[str, Any] = figures
    return found


def _runs(figures: dict[str, Any]) -> Samples:
    return np.array(figures["runs_ms"], np.float64)


def _print(arguments: argparse.Namespace, figures: dict[str, Any]) -> None:
    for name, path, index in (("before", arguments.before, 0), ("after", arguments.after, 1)):
        print(f"{name:<11} {path}: median {figures['p50_ms'][index]:.3f} ms of {figures['runs'][index]} runs")
    for key, (one, other) in figures["settings"].items():
        if one != other:
            print(f"{key:<11} {one} before, {other} after")
    low, high = (figures[key] - 1 for key in ("ratio_low", "ratio_high"))
    print(f"difference  {figures['ratio'] - 1:+.1%} time, {low:+.1%} to {high:+.1%} with 95 % confidence")
    print(f"verdict     {_verdict(figures)} (p = {figures['p']:.2g})")


def _verdict(figures: dict[str, Any]) -> str:
    if not figures["significant"]:
        return "no difference that these runs could tell from noise"
    return "slower" if figures["ratio"] > 1 else "faster"
