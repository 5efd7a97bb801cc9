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
    """`ops` of the final float32 graph by name, `errors` in float32 by batch, and the int8 answer to three images."""

    ops: Mapping[str, int]
    errors: Mapping[int, Agreement]
    int8: Agreement
    parameters: int
    macs: int

    @property
    def holds(self) -> bool:
        """True where every float32 answer is PyTorch's."""
        return all(found.holds for found in self.errors.values())


def imported(subject: Subject, way: str) -> Graph:
    """The subject's graph: of its module, or of the ONNX file that PyTorch's exporter makes."""
    if way == "onnx":
        return alula.from_onnx(subject.onnx_path)
    return alula.from_torch(subject.module, (torch.from_numpy(subject.images(1)),))


def check(subject: Subject, way: str, folder: Path) -> Checked:
    """The subject imported by one way, built in float32 and in int8, run in both batches from one file."""
    graph = imported(subject, way)
    path = folder / f"{subject.name}-{way}.alula"
    narrow = graph.copied()[0]
    model = alula.build(graph)
    ops = Counter(node.op.name for node in model.graph.nodes)
    model.save(path)
    with alula.load(path, threads=1) as session:
        errors = {batch: _agreement(session, subject, batch, FLOAT32) for batch in BATCHES}
        macs = session.macs
    alula.build(narrow, alula.BuildConfig(precision=INT8.mode), subject.calibration[:CALIBRATION]).save(path)
    with alula.load(path, threads=1) as session:
        int8 = _agreement(session, subject, BATCHES[-1], INT8)
    path.unlink()
    parameters = sum(parameter.numel() for parameter in subject.module.parameters())
    return Checked(ops, errors, int8, parameters, macs)


def _agreement(session: alula.Session, subject: Subject, batch: int, precision: Precision) -> Agreement:
    return agreement(session.run(subject.images(batch))[0], subject.reference(batch), precision)
