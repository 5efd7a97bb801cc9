"""A model by both ways: the graphs that its imports end as, and how near their answers are to PyTorch's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

import alula
from alula.ir.graph import Graph
from bench.agreement import Agreement, agreement
from bench.precision import FLOAT32, INT8, Precision
from bench.subject import Subject

WAYS = ("torch", "onnx")
BATCHES = (1, 3)  # of one file
CALIBRATION = 4  # images


@dataclass(frozen=True, slots=True)
class Checked:
    """The final graph's nodes by op, and what its program answers to batches of `BATCHES`."""

    ops: Mapping[str, int]
    errors: Mapping[int, Agreement]
    macs: int

    @property
    def holds(self) -> bool:
        """True where every answer is as near as the precision asks for."""
        return all(found.holds for found in self.errors.values())


def imported(subject: Subject, way: str) -> Graph:
    """The subject's graph: of its module, or of the ONNX file that PyTorch's exporter makes."""
    if way == "onnx":
        return alula.from_onnx(subject.onnx_path)
    return alula.from_torch(subject.module, (torch.from_numpy(subject.images(1)),))


def check(subject: Subject, way: str, folder: Path, precision: Precision = FLOAT32) -> Checked:
    """The subject imported by one way, built in a precision, and run in all batches from one file."""
    calibration = subject.calibration[:CALIBRATION] if precision is INT8 else None
    model = alula.build(imported(subject, way), alula.BuildConfig(precision=precision.mode), calibration)
    path = folder / f"{subject.name}-{way}-{precision.name}.alula"
    model.save(path)
    with alula.load(path) as session:
        answers = {batch: session.run(subject.images(batch))[0] for batch in BATCHES}
        macs = session.macs
    path.unlink()
    errors = {batch: agreement(answer, subject.reference(batch), precision) for batch, answer in answers.items()}
    return Checked(Counter(node.op.name for node in model.graph.nodes), errors, macs)
