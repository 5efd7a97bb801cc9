"""What is known of each model: how its imports agree, and its times beside other engines'."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from alula.cli.report import json_bytes
from alula.core.errors import first_line
from alula.core.files import atomic_write
from bench.compare import Effort, compare
from bench.engines import ENGINES
from bench.precision import FLOAT32, INT8
from bench.report import figures
from bench.subject import Subject
from bench.worker import Worker
from bench.zoo.check import WAYS, Checked, check
from bench.zoo.page import markdown

RECORDS, PAGE = Path("benchmarks/models.json"), Path("models.md")
OURS = "alula"  # how the names of our own engines begin
TIMED = (
    *(OURS, "onnxruntime", "openvino", "alula-bf16", "openvino-bf16", "alula-int8", "alula-int8-f32"),
    *("onnxruntime-int8-dynamic", "onnxruntime-int8-static", "openvino-int8", "openvino-int8-f32"),
)
BATCH = 1


@dataclass(frozen=True, slots=True)
class Records:
    """By model, `checked` and `timed`, each as it was last measured; kept in `folder` with the page made from them."""

    folder: Path

    def read(self) -> dict[str, dict[str, Any]]:
        """All of them; none where nothing was measured yet."""
        path = self.folder / RECORDS
        found: dict[str, dict[str, Any]] = json.loads(path.read_bytes()) if path.exists() else {}
        return found

    def update(self, name: str, **parts: dict[str, Any]) -> None:
        """Put parts of one model's record in the place of older ones, and write the page anew."""
        records = self.read()
        records[name] = records.get(name, {}) | parts
        for path, content in ((RECORDS, json_bytes(records)), (PAGE, markdown(records).encode())):
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(self.folder / path) as file:
                file.write(content)


def checked(subject: Subject, folder: Path) -> dict[str, Any]:
    """The subject by both ways in float32, and by one in int8."""
    found = {way: check(subject, way, folder) for way in WAYS}
    ways = {way: {"error": _error(result), "holds": result.holds, "ops": result.ops} for way, result in found.items()}
    int8 = check(subject, WAYS[0], folder, INT8)
    least = min(agreement.cosine for agreement in int8.errors.values())
    return {
        "parameters": sum(parameter.numel() for parameter in subject.module.parameters()),
        "macs": found[WAYS[0]].macs,
        "int8": {"error": _error(int8), "cosine": least},
        **ways,
    }


def timed(
    subject: Subject, names: Sequence[str], macs: int, threads: int, effort: Effort, machine: dict[str, Any]
) -> dict[str, Any]:
    """The engines beside each other; low precisions however near they come, for weights made by chance resist them."""
    engines = {name: ENGINES[name] for name in names}
    result = compare(subject, engines, BATCH, threads, effort, bounded=(FLOAT32.name,))
    return figures([result], {subject.name: macs}, machine)


def usable(subject: Subject) -> list[str]:
    """The engines that can be timed, their files made; says which other engine cannot read its own, and why."""
    names = []
    for name in TIMED:
        try:
            _answers(subject, name)
        except Exception as error:  # whatever an engine or its converter raises
            if name.startswith(OURS):
                raise
            why = first_line(error)
            print(f"note: {subject.name}: {ENGINES[name].title} is left out: {why}", file=sys.stderr)
        else:
            names.append(name)
    return names


def _answers(subject: Subject, name: str) -> None:
    kind, images = ENGINES[name], subject.images(BATCH)
    with closing(Worker(name, kind, getattr(subject, kind.takes), images, threads=1)) as worker:
        worker.output(images)


def _error(result: Checked) -> float:
    return max(agreement.error for agreement in result.errors.values())
