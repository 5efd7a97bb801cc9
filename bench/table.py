"""The command line and the table that the benchmarks of single ops share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from alula.cli.options import add_json, check_writable, positive
from alula.cli.report import print_table, write_json
from bench.command import DONE, Parser, machine, numbers
from bench.single import Case, Cost, measure

PACKAGES = ("llvmlite", "numpy")
COLUMNS = ("op", "batch", "ms", "GFLOP/s", "of peak", "GB/s")


def measure_cases(prog: str, description: str, cases: Sequence[Case], given: Sequence[str]) -> int:
    """Measures every case for every batch and thread count, prints a table for each thread count."""
    parser = Parser(prog=prog, description=description)
    parser.add_argument("--batches", default=[1], type=numbers, metavar="N,N", help="(1)")
    parser.add_argument("--threads", default=[1, 2], type=numbers, metavar="N,N", help="(1,2)")
    parser.add_argument("--iterations", default=50, type=positive, metavar="N", help="runs of each case (50)")
    add_json(parser)
    options = parser.parse_args(given)
    check_writable(options.json)
    found = machine(PACKAGES, options.threads)
    results: list[dict[str, Any]] = []
    for threads in options.threads:
        peak = found["peak_gflops"]["f32"][str(threads)]
        rows = []
        for case in cases:
            for batch in options.batches:
                cost = measure(case, batch, threads, options.iterations)
                results.append(figures(case.name, batch, threads, cost, peak))
                rows.append((case.name, batch, *cells(cost, peak)))
        print_table(f"{found['processor']}, {threads} threads, peak {peak:.0f} GFLOP/s", COLUMNS, rows)
    write_json(options.json, {"machine": found, "results": results})
    return DONE


def cells(cost: Cost, peak: float) -> tuple[float, str, str, float]:
    """ms, GFLOP/s, share of peak, GB/s; the middle two only where there are multiply-adds."""
    speed = (f"{cost.gflops:.0f}", f"{cost.gflops / peak:.0%}") if cost.macs else ("-", "-")
    return (cost.seconds * 1e3, *speed, cost.gigabytes_s)


def figures(name: str, batch: int, threads: int, cost: Cost, peak: float) -> dict[str, Any]:
    """The same, ready for JSON."""
    return {
        "op": name,
        "batch": batch,
        "threads": threads,
        "ms": cost.seconds * 1e3,
        "gflops": cost.gflops,
        "peak_fraction": cost.gflops / peak,
        "gigabytes_s": cost.gigabytes_s,
    }
