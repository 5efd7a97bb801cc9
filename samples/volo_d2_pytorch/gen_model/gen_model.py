"""An exported PyTorch program -> an offline model file, by `alula build`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "utils"))

from command import command, finish

from alula.cli.main import main as alula
from alula.cli.options import PRECISIONS, QUANTISED, positive
from alula.core.errors import UsageError

LARGEST_BATCH = 512


def main(words: Sequence[str]) -> int:
    """Writes the model file and says where it is."""
    arguments = _arguments(words)
    size = f"3,{arguments.input_height},{arguments.input_width}"
    largest = max(LARGEST_BATCH, arguments.batch_size)
    build = ["build", str(arguments.pt_model), "-o", str(arguments.output_model), "--precision", arguments.precision]
    build += ["--shape-mutable", arguments.shape_mutable, "--batch-size", str(arguments.batch_size)]
    build += ["--dim-range", f"1,{size}", f"{largest},{size}"]
    if arguments.preprocess:
        build += ["--preprocess", arguments.preprocess]
    if arguments.precision.startswith(QUANTISED) and arguments.image_dir and arguments.image_dir.is_dir():
        build += ["--calibration-dir", str(arguments.image_dir)]
    code = alula(build)
    if code == 0:
        print(f"Generate model done, model save to {arguments.output_model}")
    return code


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = command(__doc__)
    parser.add_argument("--pt_model", type=Path, required=True, help="exported program, as export_model writes it")
    parser.add_argument("--output_model", type=Path, required=True, help="model file to write")
    parser.add_argument("--image_dir", type=Path, help="training pictures to calibrate int8 on; none: scales of rows")
    parser.add_argument("--label_file", type=Path, help="taken for the original's sake: calibration needs no labels")
    parser.add_argument("--precision", default=PRECISIONS[0], help=", ".join(PRECISIONS))
    parser.add_argument("--shape_mutable", default="false", help="true: one file for every batch; false: one batch")
    parser.add_argument("--batch_size", type=positive, default=1, help="the batch tuned for, or the only one")
    parser.add_argument("--input_width", type=positive, default=224, help="pixels")
    parser.add_argument("--input_height", type=positive, default=224, help="pixels")
    parser.add_argument("--device_id", type=int, default=0, help="taken for the original's sake: processors compute")
    parser.add_argument("--preprocess", help="volo-opencv: the original's; default: that of VOLO's authors")
    arguments = parser.parse_args(words)
    if arguments.precision not in PRECISIONS:
        raise UsageError(f"precision: expected one of {', '.join(PRECISIONS)}, got {arguments.precision!r}")
    return arguments


if __name__ == "__main__":
    finish(main)
