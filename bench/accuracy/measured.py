"""A subject's figures, ready for JSON: every engine's and precision's answers beside the framework's in float32."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alula.vision.metrics import accuracy, ranked
from alula.vision.paired import Paired
from bench.accuracy.answers import Answers, Logits, answers, reference
from bench.accuracy.layers import errors_by_layer
from bench.accuracy.subjects import Subject
from bench.engines import ENGINES

TOP = 5
KINDS = ("lost", "won", "still wrong")


def measured(subject: Subject, work: Path) -> dict[str, Any]:
    """Everything about one subject."""
    expected, labels = reference(subject), subject.pictures.labels
    return {
        "name": subject.name,
        "title": subject.title,
        "pictures": len(labels),
        "reference": {"engine": subject.framework.title, **right(expected, labels)},
        "rows": [compared(found, expected, labels) for found in answers(subject, work)],
        "layers": errors_by_layer(subject, work),
    }


def compared(found: Answers, expected: Logits, labels: NDArray[np.int64]) -> dict[str, Any]:
    """One engine's answers: how many are right, and what differs from the reference."""
    paired = Paired()
    paired.take(range(len(labels)), expected, found.logits, labels.tolist())
    kinds = Counter(flip.kind for flip in paired.flips)
    return {
        "engine": found.engine,
        "title": ENGINES[found.engine].title,
        "mode": found.mode,
        "calibration": found.calibration and dict(zip(("pictures", "seed"), found.calibration, strict=True)),
        "int8_share": found.int8_share,
        **paired.to_json(),
        **right(found.logits, labels),
        "flips": {kind: kinds[kind] for kind in KINDS},
    }


def right(logits: Logits, labels: NDArray[np.int64]) -> dict[str, Any]:
    """Top-1 and top-5."""
    best = ranked(logits, TOP)
    return {"top1": accuracy(best[:, :1], labels).to_json(), "top5": accuracy(best, labels).to_json()}


def label_of(row: dict[str, Any]) -> str:
    """What a row is called in tables and pictures."""
    name = f"Alula {row['mode']}" if row["engine"] == "alula" else str(row["title"])
    calibration = row["calibration"]
    return f"{name}, {calibration['pictures']} pictures, draw {calibration['seed']}" if calibration else name
