"""Option types and options that several commands share."""

from __future__ import annotations

import argparse
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from alula.core.errors import UsageError

if TYPE_CHECKING:
    from alula.runtime.session import Session

REFERENCE, ALL = "force_float32", "all"
PRECISIONS = (  # of alula.compiler, which takes longer to import than --help should
    REFERENCE,
    "force_float16",
    "force_bfloat16",
    "qint8_mixed_float16",
    "qint8_mixed_bfloat16",
    "qint8_mixed_float32",
)
QUANTISED = "qint8"  # how the names of those begin that calibration is for
ALGORITHMS = ("linear", "moving_average", "percentile", "entropy", "eqnm")  # of alula.quant.thresholds
ACTIVATIONS = ("asymmetric", "symmetric", "per-token")  # of alula.quant.scheme
SECONDS = {"s": 1, "m": 60, "h": 3600}
WEIGHTS = ("per-channel", "per-tensor")


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not (text.isascii() and text.isdigit()) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def seconds(text: str) -> float:
    """A number of seconds, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"expected a number of seconds, got {text!r}")
    return value


def duration(text: str) -> float:
    """Seconds: `90s`, `10m` or `1h`."""
    number, unit = text[:-1], SECONDS.get(text[-1:])
    if unit is None or not (number.isascii() and number.isdigit()) or not int(number):
        raise argparse.ArgumentTypeError(f"expected a time like 90s, 10m or 1h, got {text!r}")
    return float(int(number) * unit)


def points(text: str) -> float:
    """Percentage points, 0 to 100."""
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"expected points of 0 to 100, got {text!r}")
    return number


def truth(text: str) -> bool:
    """`true` or `false`."""
    if text not in ("true", "false"):
        raise argparse.ArgumentTypeError(f"expected true or false, got {text!r}")
    return text == "true"


def add_model(parser: argparse.ArgumentParser) -> None:
    """The model file, positional."""
    parser.add_argument("model", type=Path, metavar="M.alula", help="model file that `alula build` wrote")


def add_threads(parser: argparse.ArgumentParser) -> None:
    """--threads."""
    parser.add_argument("--threads", type=positive, metavar="T", help="threads to compute with (default: usable cores)")


def add_json(parser: argparse.ArgumentParser) -> None:
    """--json."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write the figures to FILE as JSON")


def add_dim_range(parser: argparse.ArgumentParser) -> None:
    """--dim-range."""
    parser.add_argument(
        "--dim-range", type=_shape, nargs=2, metavar=("MIN", "MAX"), help="smallest and largest shape, 1,3,224,224 each"
    )


def add_sizes(parser: argparse.ArgumentParser) -> None:
    """--sizes."""
    parser.add_argument(
        "--sizes", type=sizes, default={}, metavar="H=S,W=S", help="sizes that the file leaves open (default: smallest)"
    )


def sizes(text: str) -> dict[str, int]:
    """`H=480,W=640`: names of sizes, a number each."""
    given: dict[str, int] = {}
    for item in text.split(","):
        name, _, number = item.partition("=")
        if not name.isidentifier() or name in given or not (number.isascii() and number.isdigit()):
            raise argparse.ArgumentTypeError(f"expected sizes like H=480,W=640, got {text!r}")
        given[name] = int(number)
    return given


def check_batch_alone(model: Path, open_sizes: Mapping[str, tuple[int, int]]) -> None:
    """Raises UsageError for a model that leaves more than its batch open, where one program has to do."""
    if open_sizes:
        raise UsageError(
            f"model {model}: expected an open batch alone, got {', '.join(open_sizes)} open too: "
            "build it with --dim-range whose ends are equal there"
        )


def _shape(text: str) -> tuple[int, ...]:
    parts = text.split(",")
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise argparse.ArgumentTypeError(f"expected sizes like 1,3,224,224, got {text!r}")
    return tuple(map(int, parts))


def add_names(parser: argparse.ArgumentParser) -> None:
    """--name-file."""
    parser.add_argument("--name-file", type=Path, metavar="F", help="class names, one a line (as in synset_words.txt)")


def add_images(parser: argparse.ArgumentParser) -> None:
    """Which pictures, how many, and in what batches."""
    parser.add_argument(
        "--image-dir", type=Path, metavar="DIR", required=True, help="folder of pictures, or of classes"
    )
    parser.add_argument("--image-num", type=positive, metavar="N", help="only the first N pictures")
    parser.add_argument("--batch-size", type=positive, metavar="B", help="pictures at a time (default: what was tuned)")
    parser.add_argument("--label-file", type=Path, metavar="F", help="lines of `name label`: the pictures to take")
    add_names(parser)


def chosen_batch(session: Session, wanted: int | None) -> int:
    """`wanted`, or what the file was tuned for.  Raises UsageError outside the file's range."""
    least, most = session.batch_range
    size = session.tuned_batch if wanted is None else wanted
    if not least <= size <= most:
        expected = f"{least} to {most}" if least < most else f"{least}, the only one,"
        raise UsageError(f"batch size: expected {expected} for this model file, got {size}")
    return size


def check_writable(path: Path | None) -> None:
    """Raises UsageError for a file that could not be written, before an hour of work finds out."""
    if path is None:
        return
    if path.is_dir():
        raise UsageError(f"writing {path}: expected a file, got a folder")
    if not path.parent.is_dir():
        raise UsageError(f"writing {path}: expected an existing folder, got {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"writing {path}: expected a writable folder, got {path.parent}")
