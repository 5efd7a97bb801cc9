"""`python -m bench.zoo`: every model by both ways of importing, beside PyTorch; `time` beside other engines.

Both keep what they found in docs/benchmarks/models.json, model by model, and write docs/models.md from it.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from alula.cli.options import positive
from bench.command import DONE, WORK_FAILED, Parser, command, machine, words
from bench.compare import Effort
from bench.engines import check_installed
from bench.subject import named_subject
from bench.zoo.records import TIMED, Records, checked, timed, usable
from bench.zoo.table import MODELS

PACKAGES = ("llvmlite", "nncf", "numpy", "onnxruntime", "openvino", "torch", "transformers")
ROOT = Path(__file__).parent.parent.parent


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = Parser(prog="python -m bench.zoo", description=__doc__)
    parser.add_argument("what", nargs="?", default="check", choices=("check", "time"), help="(check)")
    parser.add_argument("--models", default=list(MODELS), type=words(list(MODELS)), metavar="A,B", help="(all)")
    parser.add_argument("--threads", default=2, type=positive, metavar="T", help="(2)")
    parser.add_argument("--rounds", default=3, type=positive, metavar="N", help="turns of every engine (3)")
    parser.add_argument("--iterations", default=5, type=positive, metavar="N", help="images timed in a turn (5)")
    parser.add_argument("--work", default=ROOT / "out" / "bench", type=Path, metavar="DIR", help="for model files")
    parser.add_argument("--output", default=ROOT / "docs", type=Path, metavar="DIR", help="for the page")
    return parser.parse_args(given)


def main(given: Sequence[str]) -> int:
    """Checks or times the models; 1 where an answer was wrong, which is said but does not keep others from theirs."""
    options = arguments(given)
    return _check(options) if options.what == "check" else _time(options)


def _check(options: argparse.Namespace) -> int:
    records, wrong = Records(options.output), []
    for name in options.models:
        subject = named_subject(name, options.work)
        with tempfile.TemporaryDirectory() as folder:
            found = checked(subject, Path(folder))
        records.update(name, checked=found)
        errors = ", ".join(f"{way} {found[way]['error']:.1e}" for way in ("torch", "onnx", "int8"))
        print(f"{name}: {errors}", flush=True)
        if not (found["torch"]["holds"] and found["onnx"]["holds"]):
            wrong.append(name)
    if wrong:
        print(f"error: models: expected PyTorch's answers, got others of {', '.join(wrong)}", file=sys.stderr)
    return WORK_FAILED if wrong else DONE


def _time(options: argparse.Namespace) -> int:
    check_installed(TIMED)
    records = Records(options.output)
    found_machine = machine(PACKAGES, [options.threads])
    for name in options.models:
        subject = named_subject(name, options.work)
        names = usable(subject)
        macs = records.read().get(name, {}).get("checked", {}).get("macs", 0)
        found = timed(subject, names, macs, options.threads, Effort(options.rounds, options.iterations), found_machine)
        records.update(name, timed=found)
        best = {row["precision"]: f"{row['alula_ratio']['median']:.2f}" for row in found["against_best"]}
        print(f"{name}: {', '.join(f'{precision} {ratio}' for precision, ratio in best.items())}", flush=True)
    return DONE


if __name__ == "__main__":
    sys.exit(command(main))
