"""`python -m bench.accuracy`: every model in every precision on labelled pictures; tables, plots and a report."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from alula.cli.options import positive
from alula.cli.progress import stage
from alula.cli.report import json_bytes
from alula.core.errors import AlulaError
from alula.core.files import atomic_write
from bench.accuracy.bars import verdicts
from bench.accuracy.measured import measured
from bench.accuracy.page import html, markdown
from bench.accuracy.questions import pictures
from bench.accuracy.subjects import SUBJECTS, subject_named
from bench.command import DONE, WORK_FAILED, Parser, command, machine, words

PACKAGES = ("llvmlite", "nncf", "numpy", "onnxruntime", "openvino", "pillow", "torch")
ROOT = Path(__file__).parents[2]
FIGURES = "accuracy.json"


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = Parser(prog="python -m bench.accuracy", description=__doc__)
    names = ",".join(SUBJECTS)
    parser.add_argument(
        "--models", type=words(list(SUBJECTS)), metavar="A,B", help=f"of {names} (all whose files are here)"
    )
    parser.add_argument(
        "--data", default=ROOT.parent / "shared" / "data", type=Path, metavar="DIR", help="pictures and ONNX models"
    )
    parser.add_argument("--every", default=1, type=positive, metavar="N", help="one picture of N alone (1)")
    parser.add_argument("--work", default=ROOT / "out" / "accuracy", type=Path, metavar="DIR", help="for model files")
    parser.add_argument(
        "--output",
        default=ROOT / "docs" / "accuracy",
        type=Path,
        metavar="DIR",
        help="for the page; what it says of models that are not measured now, stays",
    )
    return parser.parse_args(given)


def main(given: Sequence[str]) -> int:
    """Measures and writes; 1 where a bar was missed."""
    options = arguments(given)
    for folder in (options.work, options.output):
        folder.mkdir(parents=True, exist_ok=True)
    models = known(options.output / FIGURES)
    for name in options.models or SUBJECTS:
        try:
            subject = subject_named(name, options.data, options.work)
        except AlulaError as error:
            if options.models:
                raise
            print(f"note: {name} is left out: {error}", file=sys.stderr)
            continue
        with stage(name):
            chosen = replace(subject, pictures=subject.pictures.every(options.every))
            models[name] = {"machine": machine(PACKAGES, ()), **measured(chosen, options.work)}
        write(models, options.output)  # at once: the next one takes minutes
    missed = [verdict for verdict in verdicts(list(models.values())) if not verdict["held"]]
    for verdict in missed:
        print(f"missed: {verdict['model']}, {verdict['row']}: {verdict['bar']}")
    return WORK_FAILED if missed else DONE


def known(path: Path) -> dict[str, dict[str, Any]]:
    """The models that a file of figures tells of, by name; none where there is no file."""
    if not path.exists():
        return {}
    return {model["name"]: model for model in json.loads(path.read_text(encoding="utf-8"))["models"]}


def write(models: dict[str, dict[str, Any]], folder: Path) -> None:
    """The files of what was found: JSON, the page, its pictures, and the report that holds all of it."""
    ordered = [models[name] for name in SUBJECTS if name in models]
    found = {"models": ordered, "bars": list(verdicts(ordered))}
    with atomic_write(folder / FIGURES) as file:
        file.write(json_bytes(found))
    drawn = pictures(ordered)
    contents = {
        "README.md": markdown(found, drawn).encode(),
        "report.html": html(found, drawn).encode(),
        **{f"{name}.svg": svg.encode() for name, svg in drawn.items()},
    }
    for name, content in contents.items():
        with atomic_write(folder / name) as file:
            file.write(content)


if __name__ == "__main__":
    sys.exit(command(main))
