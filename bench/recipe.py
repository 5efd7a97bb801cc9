"""`python -m bench.recipe`: what int8's default recipe costs in time, over plain ranges and beside float32.

Three files of each model, in turns: the default recipe; static ranges from the least to the greatest number without
balanced channels or scales by row; float32.  Batch 1, medians of the rounds' ratios.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import alula
from alula.cli.options import add_json, check_writable, positive
from alula.cli.report import print_table, write_json
from alula.compiler import INT8, PRECISIONS, Inputs, compiled_run, final_graph
from alula.core.preprocess import Preprocess
from alula.ir.graph import Graph
from alula.quant.calibrate import calibrate
from alula.quant.calibration import Calibration
from alula.quant.scheme import Scheme
from bench.accuracy.answers import calibration_inputs
from bench.accuracy.subjects import SUBJECTS, subject_named
from bench.command import DONE, WORK_FAILED, Parser, command, machine, words
from bench.measure import interleaved, ratios
from bench.sharing import batch_of
from bench.subject import named_subject
from bench.threads import turn

FLAGSHIP = "volo_d2"
CALIBRATED = (64, 0)  # pictures, seed
OVER_PLAIN, OF_FLOAT32 = 1.05, 0.6  # bars; that over plain ranges is the flagship's
ROOT = Path(__file__).parent.parent
COLUMNS = ("model", "float32 ms", "plain ms", "recipe ms", "recipe / plain", "recipe / float32", "kept")


@dataclass(frozen=True, slots=True)
class Source:
    """A float32 graph, how it takes pictures, and what int8 is calibrated on."""

    graph: Graph
    contract: Preprocess | None
    inputs: Inputs


def source_named(name: str, data: Path, work: Path) -> Source:
    """The flagship with random weights, or a model of the accuracy bench."""
    if name == FLAGSHIP:
        import torch

        subject = named_subject(name, work)
        return Source(
            alula.from_torch(subject.module, (torch.from_numpy(subject.images(1)),)), None, subject.calibration
        )
    trained = subject_named(name, data, work)
    return Source(trained.graph(), trained.contract, calibration_inputs(trained, CALIBRATED))


def plain(graph: Graph, inputs: Inputs) -> Calibration:
    """Calibration with one range for every activation and no factors."""
    found = calibrate(graph, inputs, compiled_run, balancing=False)
    activations = {name: replace(one, by_rows=False) for name, one in found.activations.items()}
    return replace(found, activations=activations)


def files(source: Source, precision: str, folder: Path) -> dict[str, Path]:
    """The three model files."""
    config = alula.BuildConfig(precision=precision, preprocess=source.contract)
    start = final_graph(source.graph.copied()[0], config)
    made = {
        "float32": (replace(config, precision="force_float32"), None),
        "plain": (replace(config, scheme=Scheme(algorithm="linear")), plain(start, source.inputs)),
        "recipe": (config, calibrate(start, source.inputs, compiled_run)),
    }
    paths = {name: folder / f"recipe-{name}.alula" for name in made}
    for name, (chosen, calibration) in made.items():
        alula.build(source.graph.copied()[0], chosen, calibration).save(paths[name])
    return paths


def measured(name: str, paths: dict[str, Path], threads: int, rounds: int, iterations: int) -> dict[str, Any]:
    """Milliseconds and ratios of the three files, JSON-ready."""
    with ExitStack() as stack:
        sessions = {way: stack.enter_context(alula.load(path, threads=threads)) for way, path in paths.items()}
        turns = {way: partial(turn, session, batch_of(session, 1)) for way, session in sessions.items()}
        found = interleaved(turns, rounds, iterations)
    over = {way: float(np.median(ratios(found["recipe"], found[way]))) for way in ("plain", "float32")}
    return {
        "model": name,
        "ms": {way: timing.median_s * 1e3 for way, timing in found.items()},
        "recipe_over_plain": over["plain"],
        "recipe_over_float32": over["float32"],
        "kept": (over["plain"] <= OVER_PLAIN or name != FLAGSHIP) and over["float32"] <= OF_FLOAT32,
    }


def main(given: Sequence[str]) -> int:
    """Measures and prints; 1 where a bar is missed."""
    names = [FLAGSHIP, *SUBJECTS]
    parser = Parser(prog="python -m bench.recipe", description=__doc__)
    parser.add_argument("--models", default=[FLAGSHIP], type=words(names), metavar="A,B", help=f"of {','.join(names)}")
    parser.add_argument("--precision", default="qint8_mixed_bfloat16", choices=[p for p in PRECISIONS if INT8 in p])
    parser.add_argument("--threads", default=2, type=positive, metavar="T", help="(2)")
    parser.add_argument("--rounds", default=9, type=positive, metavar="N", help="turns of every file (9)")
    parser.add_argument("--iterations", default=5, type=positive, metavar="N", help="runs in a turn (5)")
    parser.add_argument("--data", default=ROOT.parent / "shared" / "data", type=Path, metavar="DIR", help="pictures")
    parser.add_argument("--work", default=ROOT / "out" / "bench", type=Path, metavar="DIR", help="for model files")
    add_json(parser)
    options = parser.parse_args(given)
    check_writable(options.json)
    options.work.mkdir(parents=True, exist_ok=True)
    known, found = machine(("llvmlite", "numpy"), [options.threads]), []
    for name in options.models:
        print(f"{name} ...", file=sys.stderr)
        paths = files(source_named(name, options.data, options.work), options.precision, options.work)
        found.append(measured(name, paths, options.threads, options.rounds, options.iterations))
    title = f"{known['processor']}, {options.precision}, {options.threads} threads"
    print_table(title, COLUMNS, [_cells(one) for one in found])
    write_json(options.json, {"machine": known, "precision": options.precision, "results": found})
    return DONE if all(one["kept"] for one in found) else WORK_FAILED


def _cells(one: dict[str, Any]) -> tuple[object, ...]:
    times = (f"{one['ms'][way]:.2f}" for way in ("float32", "plain", "recipe"))
    shares = (f"{one[key]:.3f}" for key in ("recipe_over_plain", "recipe_over_float32"))
    return one["model"], *times, *shares, "yes" if one["kept"] else "NO"


if __name__ == "__main__":
    sys.exit(command(main))
