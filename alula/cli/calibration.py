"""Pictures of a folder as what a built model takes: for the ranges of activations, and to compare precisions on."""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from numpy.typing import NDArray

from alula.cli.progress import progress
from alula.core.errors import ImageError, UsageError
from alula.core.preprocess import Preprocess
from alula.vision.decode import decode
from alula.vision.folder import Picture, list_pictures
from alula.vision.stream import stream

if TYPE_CHECKING:
    from alula.compiler import BuildConfig
    from alula.ir.graph import Graph
    from alula.quant.calibration import Calibration

AT_A_TIME = 4
MEASURING = ("calibration_dir", "save_calibration")  # options that ask for pictures to be looked at
CALIBRATING = (*MEASURING, "calibration", "calibration_algorithm", "activations", "weights")
ROWS_NOTE = (
    "note: activations get a scale for each row; convolutions stay float: --calibration-dir gives them one "
    "(those of pixels have theirs)"
)


@dataclass(slots=True)
class Inputs:
    """Arrays of a few pictures each, read anew by whoever iterates; `failures` says of the last time what was not read.

    At most a few batches are in memory.
    """

    pictures: Sequence[Picture]
    contract: Preprocess
    at_a_time: int = AT_A_TIME
    failures: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        self.failures = {}
        with progress("calibrating", len(self.pictures)) as shown:
            for batch in stream(self.pictures, self.contract, self.at_a_time):
                self.failures |= {self.pictures[failure.index].name: failure.reason for failure in batch.failures}
                if len(batch.indices):
                    yield batch.inputs
                shown.advance(len(batch.indices) + len(batch.failures))


def spread_pictures(folder: Path, count: int) -> tuple[Picture, ...]:
    """`count` pictures spread evenly over a folder's list, so over its classes; all where there are no more.

    Raises UsageError where none of them can be read.
    """
    listed = list_pictures(folder)
    count = min(count, len(listed))
    chosen = tuple(listed[number * len(listed) // count] for number in range(count))
    _check_readable(folder, chosen)
    return chosen


def _check_readable(folder: Path, pictures: Sequence[Picture]) -> None:
    """Before an hour of work finds out; one that can be read is enough."""
    reasons = []
    for picture in pictures:
        try:
            decode(picture.path, picture.name)
        except ImageError as error:
            reasons.append(str(error))
        else:
            return
    count = len(pictures)
    raise UsageError(f"image folder {folder}: expected readable pictures, got none among {count} ({reasons[0]})")


def calibration_pictures(arguments: argparse.Namespace, quantised: bool) -> tuple[Picture, ...]:
    """Those of --calibration-dir, none without.  Raises UsageError for options that nothing has a use for."""
    given = [option for option in CALIBRATING if getattr(arguments, option) is not None]
    if given and not quantised:
        raise UsageError(f"{_option(given[0])}: expected a qint8 precision or all, got {arguments.precision}")
    if arguments.calibration is not None and (others := [option for option in MEASURING if option in given]):
        raise UsageError(f"{_option(others[0])}: expected no --calibration, which holds what pictures showed, got one")
    if arguments.calibration_dir is None:
        if arguments.save_calibration is not None:
            raise UsageError("--save-calibration: expected --calibration-dir, got none")
        if quantised and arguments.calibration is None:
            print(ROWS_NOTE, file=sys.stderr)
        return ()
    return spread_pictures(arguments.calibration_dir, arguments.calibration_num)


def warn_of_shared(calibrating: Sequence[Picture], evaluating: Sequence[Picture]) -> None:
    """Says on standard error how many pictures are in both lists, by their content: figures of those flatter."""
    if not calibrating or not evaluating:
        return
    seen = {_digest(picture.path) for picture in calibrating} - {None}
    shared = sum(_digest(picture.path) in seen for picture in evaluating)
    if shared:
        print(
            f"warning: {shared} of {len(evaluating)} evaluation pictures are calibration pictures too: "
            "agreement on them flatters",
            file=sys.stderr,
        )


def _digest(path: Path) -> bytes | None:
    """SHA-256 of a file; None where it cannot be read, which is said where it is decoded."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError:
        return None


def found_calibration(
    arguments: argparse.Namespace, graph: Graph, config: BuildConfig, inputs: Inputs | None
) -> Calibration | None:
    """What --calibration holds or the pictures show, saved where it is asked for; None without either."""
    import alula

    if arguments.calibration is not None:
        return alula.Calibration.load(arguments.calibration)
    if inputs is None:
        return None
    calibration = alula.calibrate(graph, config, inputs)
    if arguments.save_calibration is not None:
        calibration.save(arguments.save_calibration)
    return calibration


def _option(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def picture_contract(contract: Preprocess | None, fold: bool) -> Preprocess:
    """How pictures become what the built model takes.  Raises UsageError for a model that does not say."""
    if contract is None:
        raise UsageError("pictures: expected a model that says how they become inputs (--preprocess), got none")
    return replace(contract, folded=contract.folded and fold)


def report_calibration(inputs: Inputs | None) -> dict[str, Any] | None:
    """Names what could not be read on standard error and counts the rest; JSON-ready, None without calibration."""
    if inputs is None:
        return None
    for reason in inputs.failures.values():
        print(f"error: {reason}", file=sys.stderr)
    listed, failed = len(inputs.pictures), len(inputs.failures)
    print(f"calibration: {listed} pictures = {listed - failed} used + {failed} failed")
    failures = [{"name": name, "error": reason} for name, reason in inputs.failures.items()]
    return {"listed": listed, "used": listed - failed, "failed": failed, "failures": failures}
