"""`alula build --precision all`: every precision mode of one model, built, timed in turn and compared on pictures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from alula.cli.classifier import Classifier, open_classifier
from alula.cli.inputs import random_inputs
from alula.cli.options import PRECISIONS, QUANTISED, REFERENCE
from alula.cli.progress import progress, stage
from alula.cli.report import print_table, write_json
from alula.core.errors import AlulaError
from alula.vision.folder import Picture
from alula.vision.stream import stream

if TYPE_CHECKING:
    from alula.compiler import BuildConfig
    from alula.ir.graph import Graph
    from alula.quant.calibration import Calibration
    from alula.runtime.session import Session

LEAST_AGREEMENT = 0.99
ROUNDS, LEAST_ROUNDS, ROUNDS_S = 15, 5, 15.0
PICTURES_AT_A_TIME = 8


@dataclass(slots=True)
class Mode:
    """One precision: where its file is, or why there is none, and what was measured of it."""

    precision: str
    output: Path
    bytes: int = 0
    build_ms: float = 0.0
    error: str = ""
    ms: float | None = None
    same: int = 0
    difference: float = 0.0


@dataclass(slots=True)
class Compared:
    """What modes were compared on: how many pictures, which could not be read, and the largest logit in float32."""

    pictures: int = 0
    largest: float = 0.0
    failures: dict[str, str] = field(default_factory=dict)


def compare(
    arguments: argparse.Namespace,
    graph: Graph,
    config: BuildConfig,
    calibration: Calibration | None,
    calibrated: dict[str, Any] | None,
    pictures: Sequence[Picture],
) -> int:
    """Builds every precision from one import and one calibration, measures them and prints the table.

    `calibrated` is the report of it.  1 where a precision or a picture failed.
    """
    modes = _build_all(arguments.output, graph, config, calibration)
    built = [mode for mode in modes if not mode.error]
    compared = Compared()
    with ExitStack() as stack:
        classifiers = {}
        if pictures:
            classifiers = {mode.precision: stack.enter_context(open_classifier(mode.output, None)) for mode in built}
            compared = _agree(built, classifiers, pictures)
        sessions = {name: classifier.session for name, classifier in classifiers.items()} or {
            mode.precision: stack.enter_context(closing(_opened(mode.output))) for mode in built
        }
        _time(built, sessions, config.batch_size)
        figures = _figures(arguments, config, sessions[REFERENCE], modes, compared) | {"calibration": calibrated}
    _print(figures, compared)
    write_json(arguments.json, figures)
    return 1 if compared.failures or len(built) < len(modes) or (calibrated and calibrated["failed"]) else 0


def _opened(path: Path) -> Session:
    import alula

    return alula.load(path)


def mode_file(output: Path, precision: str) -> Path:
    """m.alula -> m.force_float32.alula."""
    return output.with_name(f"{output.stem}.{precision}{output.suffix}")


def _build_all(output: Path, graph: Graph, config: BuildConfig, calibration: Calibration | None) -> list[Mode]:
    """The modes, built or with the reason why not; what stops the reference stops everything."""
    import alula

    modes = [Mode(precision, mode_file(output, precision)) for precision in PRECISIONS]
    for mode in modes:
        data = calibration if mode.precision.startswith(QUANTISED) else None
        began = perf_counter()
        try:
            with stage(f"building {mode.output.name}"):
                model = alula.build(graph.copied()[0], replace(config, precision=mode.precision), data)
                model.save(mode.output)
        except AlulaError as error:
            if mode.precision == REFERENCE:
                raise
            mode.error = str(error)
            continue
        mode.build_ms = (perf_counter() - began) * 1e3
        mode.bytes = mode.output.stat().st_size
    return modes


def _time(modes: Sequence[Mode], sessions: Mapping[str, Session], batch_size: int) -> None:
    """Notes each mode's median milliseconds over runs that take turns, so that all of them see the same machine."""
    inputs = {name: random_inputs(session, batch_size) for name, session in sessions.items()}
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    began = perf_counter()
    with progress("timing", ROUNDS) as shown:
        for number in range(ROUNDS):
            if number >= LEAST_ROUNDS and perf_counter() - began > ROUNDS_S:
                break
            for name, session in sessions.items():
                session.run(*inputs[name])  # after another model: threads asleep, caches full of its weights
                entered = perf_counter()
                session.run(*inputs[name])
                seconds[name].append(perf_counter() - entered)
            shown.advance()
    for mode in modes:
        mode.ms = float(np.median(seconds[mode.precision])) * 1e3


def _agree(modes: Sequence[Mode], classifiers: Mapping[str, Classifier], pictures: Sequence[Picture]) -> Compared:
    """Notes for how many pictures each mode gives the reference's class, and how far its scores are off at most."""
    compared = Compared()
    reference = classifiers[REFERENCE]
    least, most = reference.session.batch_range
    with progress("comparing", len(pictures)) as shown:
        for batch in stream(pictures, reference.contract, max(least, min(most, PICTURES_AT_A_TIME))):
            compared.failures |= {pictures[failure.index].name: failure.reason for failure in batch.failures}
            if len(batch.indices):
                expected = reference.scores(batch.inputs)
                compared.pictures += len(expected)
                compared.largest = max(compared.largest, float(np.abs(expected).max()))
                for mode in modes:
                    _take(mode, expected, classifiers[mode.precision].scores(batch.inputs))
            shown.advance(len(batch.indices) + len(batch.failures))
    return compared


def _take(mode: Mode, expected: NDArray[np.float32], scores: NDArray[np.float32]) -> None:
    """A row that is not all finite agrees with nothing."""
    finite = np.isfinite(scores).all(axis=1)
    mode.same += int((finite & (scores.argmax(axis=1) == expected.argmax(axis=1))).sum())
    worst = float(np.abs(scores - expected).max()) if finite.all() else float("inf")
    mode.difference = max(mode.difference, worst)


def _figures(
    arguments: argparse.Namespace, config: BuildConfig, session: Session, modes: Iterable[Mode], compared: Compared
) -> dict[str, Any]:
    rows = [_row(mode, compared) for mode in modes]
    return {
        "model": arguments.model.name,
        "target": session.target,
        "batch_size": config.batch_size,
        "threads": session.threads,
        "threads_why": session.threads_why,
        "pictures": compared.pictures,
        "failures": [{"name": name, "error": reason} for name, reason in compared.failures.items()],
        "precisions": rows,
        "least_agreement": LEAST_AGREEMENT,
        "recommended": recommended(rows),
    }


def _row(mode: Mode, compared: Compared) -> dict[str, Any]:
    known = compared.pictures and not mode.error
    relative = mode.difference / compared.largest if compared.largest else mode.difference
    return {
        "precision": mode.precision,
        "output": None if mode.error else mode.output.name,
        "error": mode.error or None,
        "ms": mode.ms,
        "bytes": mode.bytes,
        "build_ms": mode.build_ms,
        "agreement": mode.same / compared.pictures if known else None,
        "max_difference": relative if known and np.isfinite(relative) else None,
    }


def recommended(rows: Sequence[Mapping[str, Any]]) -> str | None:
    """The fastest mode that agrees with the reference well enough; None where nothing says how well they do."""
    good = [row for row in rows if row["agreement"] is not None and row["agreement"] >= LEAST_AGREEMENT]
    return str(min(good, key=lambda row: row["ms"])["precision"]) if good else None


def _print(figures: Mapping[str, Any], compared: Compared) -> None:
    for reason in (*compared.failures.values(), *(row["error"] for row in figures["precisions"] if row["error"])):
        print(f"error: {reason}", file=sys.stderr)
    title = (
        f"{figures['model']} on {figures['target']}, batch {figures['batch_size']}, "
        f"{figures['threads']} threads ({figures['threads_why']})"
    )
    print_table(title, ("precision", "ms", "MB", "agreement %", "max difference"), map(_cells, figures["precisions"]))
    print(_verdict(figures))


def _cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    share = None if row["agreement"] is None else 100 * row["agreement"]
    return row["precision"], row["ms"], row["bytes"] / 1e6 if row["bytes"] else None, share, row["max_difference"]


def _verdict(figures: Mapping[str, Any]) -> str:
    if figures["recommended"] is None:
        fastest = min((row for row in figures["precisions"] if row["ms"]), key=lambda row: row["ms"])["precision"]
        return f"fastest: {fastest}; how far its answers agree with {REFERENCE}'s takes pictures: --eval-dir DIR"
    return (
        f"recommended: {figures['recommended']}, the fastest that gives {REFERENCE}'s class "
        f"for at least {LEAST_AGREEMENT:.0%} of {figures['pictures']} pictures"
    )
