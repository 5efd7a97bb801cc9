"""`python -m bench.shares`: matrix products and attention of VOLO-D2 in f32, bf16 and int8, as shares of the peak.

Writes docs/benchmarks/kernels.md and kernels.json.  Another target than this machine's own shows what its instructions
reach here: `--targets native,avx512-vnni`.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from alula.cli.report import json_bytes
from alula.core.files import atomic_write
from bench import gemm, ops
from bench.arithmetic import ARITHMETICS
from bench.command import DONE, Parser, command, machine
from bench.page import LEAST_SHARE, heading, table
from bench.single import Case
from bench.table import NATIVE, PACKAGES, add_effort, here, measured

ROOT = Path(__file__).parent.parent
READING = """\
Every op is a program with several copies of it, compiled as a model is, and timed by the processor's clock inside
the program: the call and the waking of threads do not count, the barrier after the op does. Data is as warm in the
caches as the run before left it, and every thread has a processor to itself. The share of the peak is the time that
the multiply-adds would take at the peak over the median time, in brackets over the least, which other work on the
machine disturbs less. The peak is measured between registers, with the instructions that the target's kernels use.

In bf16 operands are bfloat16 and sums float32. In int8 products take unsigned and signed bytes, and their sums are
scaled to float32; attention computes scores in bf16 and mixes values in int8, as `qint8_mixed_bfloat16` does, and
its peak is that mixture's. `linear` writes float32, `linear+gelu` and attention write what the next product takes.

`python -m bench.shares` writes this page.
"""


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = Parser(prog="python -m bench.shares", description=__doc__)
    parser.add_argument(
        "--targets", default=[NATIVE], type=lambda text: text.split(","), metavar="A,B", help="(native)"
    )
    add_effort(parser)
    parser.add_argument("--output", default=ROOT / "docs" / "benchmarks", type=Path, metavar="DIR", help="for the page")
    return parser.parse_args(given)


def main(given: Sequence[str]) -> int:
    """Measures, and writes the page."""
    options = arguments(given)
    found: list[dict[str, Any]] = []
    for target in dict.fromkeys(map(here, options.targets)):
        print(f"{target.name} ...", file=sys.stderr)
        known = machine(PACKAGES, options.threads, target)
        results = list(measured(cases(options.precision), target, options, known["peak_gflops"]))
        found.append({"machine": known, "results": results})
    options.output.mkdir(parents=True, exist_ok=True)
    for name, content in (("kernels.json", json_bytes({"targets": found})), ("kernels.md", page(found).encode())):
        with atomic_write(options.output / name) as file:
            file.write(content)
        print(f"wrote {options.output / name}", file=sys.stderr)
    return DONE


def cases(arithmetics: Sequence[str]) -> list[tuple[str, Case]]:
    """Products and attention, by arithmetic."""
    return [
        (arithmetic, case)
        for arithmetic in arithmetics
        for case in (*gemm.cases(arithmetic), *ops.attention_cases(arithmetic))
    ]


def page(found: Sequence[dict[str, Any]]) -> str:
    """In Markdown, a part for each target."""
    lines = ["# Kernels as shares of the measured peak", ""]
    for part in found:
        lines += [f"## {part['machine']['target']}", "", *heading(part["machine"]), "", *_tables(part["results"])]
    return "\n".join([*lines, READING])


def _tables(results: Sequence[dict[str, Any]]) -> Iterator[str]:
    """A table for each batch and thread count, a row for each op, two columns for each arithmetic."""
    found = [name for name in ARITHMETICS if any(row["in"] == name for row in results)]
    for batch, threads in sorted({(row["batch"], row["threads"]) for row in results}):
        rows = [row for row in results if (row["batch"], row["threads"]) == (batch, threads)]
        by_place = {(row["op"], row["in"]): row for row in rows}
        columns = ["op", *(column for name in found for column in (f"{name}, ms", "of peak"))]
        cells = [
            [op, *(cell for name in found for cell in _cells(by_place.get((op, name))))]
            for op in dict.fromkeys(row["op"] for row in rows)
        ]
        yield from (f"### Batch {batch}, {threads} thread{'s' * (threads > 1)}", "", *disturbed(rows))
        yield from (*table(columns, cells), "")


def disturbed(rows: Sequence[dict[str, Any]]) -> list[str]:
    """A warning where medians are far from the best runs: then they are the times of other work too."""
    far = sum(row["least_ms"] < LEAST_SHARE * row["ms"] for row in rows)
    text = f"**Disturbed:** {far} of {len(rows)} medians are far above the best run, so other work was running."
    return [text, ""] if far else []


def _cells(row: dict[str, Any] | None) -> tuple[str, str]:
    """Milliseconds and shares of the peak; nothing where it was not measured."""
    if row is None:
        return "-", "-"
    return f"{row['ms']:.3f}", f"{row['peak_fraction']:.0%} ({row['best_peak_fraction']:.0%})"


if __name__ == "__main__":
    sys.exit(command(main))
