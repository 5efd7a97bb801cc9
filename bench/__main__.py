"""`python -m bench`: Alula, ONNX Runtime, OpenVINO and PyTorch on the same weights and images, in turns."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import alula
from alula.cli.options import add_json, check_writable, positive
from alula.cli.report import write_json
from bench.command import DONE, WORK_FAILED, Parser, command, machine, numbers, peaks, words
from bench.compare import Comparison, Effort, compare
from bench.engines import ENGINES, check_installed
from bench.page import markdown
from bench.report import brief, figures, write_report
from bench.subject import Subject, named_subject

PACKAGES = ("llvmlite", "nncf", "numpy", "onnxruntime", "openvino", "torch")
ROOT = Path(__file__).parent.parent


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = Parser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--models",
        default=["volo_d2"],
        type=lambda text: text.split(","),
        metavar="A,B",
        help="those of alula export and of bench.zoo (volo_d2)",
    )
    parser.add_argument("--batches", default=[1, 8], type=numbers, metavar="N,N", help="(1,8)")
    parser.add_argument("--threads", default=[1, 2], type=numbers, metavar="N,N", help="(1,2)")
    parser.add_argument("--engines", default=list(ENGINES), type=words(list(ENGINES)), help=f"({','.join(ENGINES)})")
    parser.add_argument("--rounds", default=7, type=positive, metavar="N", help="turns of every engine (7)")
    parser.add_argument("--iterations", default=8, type=positive, metavar="N", help="images timed in a turn (8)")
    parser.add_argument("--work", default=ROOT / "out" / "bench", type=Path, metavar="DIR", help="for model files")
    parser.add_argument("--output", default=ROOT / "docs" / "benchmarks", type=Path, metavar="DIR", help="for the page")
    add_json(parser)
    return parser.parse_args(given)


def main(given: Sequence[str]) -> int:
    """Measures, prints and writes; 1 where an engine's answer was wrong."""
    options = arguments(given)
    check_installed(options.engines)
    check_writable(options.json)
    subjects = [named_subject(name, options.work) for name in options.models]
    found_machine = machine(PACKAGES, options.threads)
    effort = Effort(options.rounds, options.iterations)
    results: list[Comparison] = []
    macs: dict[str, int] = {}
    for subject in subjects:
        macs[subject.name] = _macs(subject)
        for threads in options.threads:
            for batch in options.batches:
                print(f"{subject.name}, batch {batch}, {threads} threads ...", file=sys.stderr)
                engines = {engine: ENGINES[engine] for engine in options.engines}
                results.append(compare(subject, engines, batch, threads, effort))
                print(brief(results[-1]), file=sys.stderr)  # what is known, should the rest be interrupted
    for dtype, again in peaks(options.threads).items():  # others may have been busy the first time
        first = found_machine["peak_gflops"][dtype]
        first.update({count: max(peak, again[count]) for count, peak in first.items()})
    found = figures(results, macs, found_machine)
    print(markdown(found))
    for path in write_report(found, options.output):
        print(f"wrote {path}", file=sys.stderr)
    write_json(options.json, found)
    return WORK_FAILED if any(result.refused for result in results) else DONE


def _macs(subject: Subject) -> int:
    """Multiply-adds for one image."""
    with alula.load(subject.alula_path, threads=1) as session:
        return session.macs


if __name__ == "__main__":
    sys.exit(command(main))
