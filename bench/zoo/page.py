"""The page of the models, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from bench.engines import ENGINES
from bench.page import disturbed, heading, table
from bench.precision import PRECISIONS
from bench.zoo.table import MODELS

Records = Mapping[str, Mapping[str, Any]]

MODEL_COLUMNS = (
    *("model", "pixels", "parameters, M", "GMAC", "from PyTorch, error", "from ONNX, error", "int8, error"),
    "the final graph's nodes",
)
TIME_COLUMNS = ("model", "Alula", "ONNX Runtime", "OpenVINO", "best other", "Alula / best other")
FAMILIES = {"alula": "Alula", "onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "nncf": "OpenVINO"}  # by package
MOST_OPS = 7
READING = """\
Each model has random weights, but such that no layer is the identity and values keep their size through all layers:
batch normalisations are calibrated, weights drawn to the size of what they multiply. `transformers` makes those that
it has, `bench/zoo` the others. *From PyTorch* is `alula.from_torch(module)`, *from ONNX* the file of PyTorch's own
exporter; each is built in float32, one file runs batches of 1 and 3, and *error* is the largest difference from
PyTorch's answer over the largest answer: at most 1e-4, or the check fails. In int8 (`qint8_mixed_bfloat16`, calibrated
on four images) it is what rounding does to weights made by chance, and has no bound. Nodes are those of the final
float32 graph that compute something; both ways lead to the same ones unless a row says so.
"""
TIMING = """\
Milliseconds for one image, engines in turns, each in a process of its own: the median of the rounds' medians. The
ratio is the median of the rounds' ratios: below 1 Alula is faster. *ONNX Runtime* in int8 is the faster of its dynamic
and its static (QDQ) quantisation, *OpenVINO* the faster of two runs of the model that NNCF quantised, with the other
operators in bfloat16 and in float32, and *Alula* the faster of those two modes.
"""


def markdown(records: Records) -> str:
    """The page: how the models import, then for each precision how long they take, and the geometric means."""
    known = {name: records[name] for name in MODELS if name in records}
    lines = ["# Models", "", READING]
    rows = [_model_cells(name, record["checked"]) for name, record in known.items() if "checked" in record]
    lines += [*table(MODEL_COLUMNS, rows), "", "`make zoo` checks them and writes this table."]
    times = {name: record["timed"] for name, record in known.items() if "timed" in record}
    if times:
        lines += ["", "## Time", "", *heading(_machine(times)), "", TIMING, *_times(times)]
        lines += ["`python -m bench.zoo time` measures them and writes these tables.", ""]
    return "\n".join(lines).rstrip() + "\n"


def _model_cells(name: str, checked: Mapping[str, Any]) -> list[str]:
    ways = [checked[way] for way in ("torch", "onnx")]
    errors = [f"{way['error']:.1e}" + ("" if way["holds"] else " **wrong**") for way in ways]
    ops = _ops(ways[0]["ops"])
    if ways[0]["ops"] != ways[1]["ops"]:
        ops += f"; from ONNX: {_ops(ways[1]['ops'])}"
    size = (f"{checked['parameters'] / 1e6:.1f}", f"{checked['macs'] / 1e9:.2f}")
    return [MODELS[name].title, str(MODELS[name].size), *size, *errors, f"{checked['int8']['error']:.2g}", ops]


def _ops(counts: Mapping[str, int]) -> str:
    """The most frequent ones."""
    chosen = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:MOST_OPS]
    more = ["..."] if len(counts) > MOST_OPS else []
    return ", ".join([*(f"{count} {op}" for op, count in chosen), *more])


def _machine(times: Records) -> dict[str, Any]:
    """The machine as the last model found it."""
    machines: list[dict[str, Any]] = [found["machine"] for found in times.values()]
    return max(machines, key=lambda machine: str(machine["date"]))


def _times(times: Records) -> Iterator[str]:
    for precision in PRECISIONS:
        rows, ratios = [], []
        for name, found in times.items():
            best = next((row for row in found["against_best"] if row["precision"] == precision), None)
            if best is not None:
                rows.append(_time_cells(name, precision, found["results"], best))
                ratios.append(best["alula_ratio"]["median"])
        if rows:
            mean = ["**geometric mean**", "", "", "", "", f"**{np.exp(np.mean(np.log(ratios))):.2f}**"]
            yield from [f"### {precision}", "", *table(TIME_COLUMNS, [*rows, mean]), ""]
    settings = [row | {"model": name} for name, found in times.items() for row in found["results"]]
    for name in times:
        if lines := disturbed([row for row in settings if row["model"] == name]):
            yield from [f"{MODELS[name].title}: {lines[0]}", ""]


def _time_cells(name: str, precision: str, results: Sequence[Mapping[str, Any]], best: Mapping[str, Any]) -> list[str]:
    least: dict[str, float] = {}
    for row in results:
        if row["precision"] == precision and "median_ms" in row:
            family = FAMILIES[ENGINES[row["engine"]].package]
            least[family] = min(row["median_ms"], least.get(family, np.inf))
    cells = [f"{least[family]:.2f}" if family in least else "-" for family in TIME_COLUMNS[1:4]]
    spread = best["alula_ratio"]
    ratio = f"{spread['median']:.2f} ({spread['min']:.2f}-{spread['max']:.2f})"
    return [MODELS[name].title, *cells, ENGINES[best["best"]].title, ratio]
