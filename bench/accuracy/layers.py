"""Where the error is made: every product in low precision beside the float32 model's, on a few pictures."""

from __future__ import annotations

from math import isfinite
from pathlib import Path
from typing import Any

from alula.analysis.sensitivity import sensitivities
from alula.artifact.reader import read_model
from alula.compiler import INT8
from alula.ir.graph import Graph
from bench.accuracy.answers import REFERENCE, model_file
from bench.accuracy.subjects import Subject

PICTURES = 2  # references are computed in NumPy, product by product
MODES = ("force_float16", "force_bfloat16", "qint8_mixed_float32")


def errors_by_layer(subject: Subject, work: Path) -> dict[str, list[dict[str, Any]]]:
    """By mode: each product's own signal to noise in dB, and its share of what all of them do to the outputs.

    Of the model files that `answers` left in `work`; those in int8 are of the subject's first calibration.
    """
    plain = _graph(model_file(subject, REFERENCE, None, work))
    return {mode: _errors(subject, plain, mode, work) for mode in MODES}


def _errors(subject: Subject, plain: Graph, mode: str, work: Path) -> list[dict[str, Any]]:
    drawn = subject.calibrations[0] if mode.startswith(INT8) else None
    pixels = subject.pictures.pixels[: PICTURES if plain.symbols else 1]
    found = sensitivities(_graph(model_file(subject, mode, drawn, work)), plain, [[pixels]])
    noise = sum(one.output_noise for one in found)
    return [
        {
            "op": one.label,
            "snr_db": one.snr_db if isfinite(one.snr_db) else None,
            "output_share": one.output_noise / noise if noise else 0.0,
        }
        for one in found
    ]


def _graph(path: Path) -> Graph:
    with read_model(path) as file:
        return file.graph()
