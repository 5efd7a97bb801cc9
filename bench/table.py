"""The command line and the table that the benchmarks of single ops share."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from alula.cli.options import add_json, check_writable, positive
from alula.cli.report import print_table, write_json
from alula.core.errors import UsageError
from alula.core.target import TARGETS, CpuTarget, target_named
from alula.runtime.host import native_target, processor_name, supports
from bench.arithmetic import ARITHMETICS
from bench.command import DONE, Parser, machine, numbers, words
from bench.single import Case, Cost, Ready

PACKAGES = ("llvmlite", "numpy")
NATIVE = "native"
MEASURES = ("ms", "GOP/s", "of peak", "at best", "GB/s")
COLUMNS = ("op", "in", "batch", *MEASURES)
Cases = Callable[[str], Sequence[Case]]  # for f32, bf16 or int8


def measure_cases(prog: str, description: str, cases: Cases, given: Sequence[str]) -> int:
    """Measures every case for every batch and thread count, prints a table for each thread count."""
    options = arguments(prog, description, given)
    check_writable(options.json)
    target = here(options.target)
    found = machine(PACKAGES, options.threads, target)
    chosen = [(arithmetic, case) for arithmetic in options.precision for case in cases(arithmetic)]
    results = list(measured(chosen, target, options, found["peak_gflops"]))
    for threads in options.threads:
        rows = [cells_of(result) for result in results if result["threads"] == threads]
        print_table(f"{found['processor']}, {target.name}, {threads} threads", COLUMNS, rows)
    write_json(options.json, {"machine": found, "results": results})
    return DONE


def arguments(prog: str, description: str, given: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = Parser(prog=prog, description=description)
    parser.add_argument("--target", default=NATIVE, metavar="T", help=f"native or one of {', '.join(TARGETS)} (native)")
    add_effort(parser)
    add_json(parser)
    return parser.parse_args(given)


def add_effort(parser: argparse.ArgumentParser) -> None:
    """What every benchmark of single ops lets choose."""
    names = ",".join(ARITHMETICS)
    parser.add_argument("--precision", default=list(ARITHMETICS), type=words(ARITHMETICS), metavar="A,B", help=names)
    parser.add_argument("--batches", default=[1], type=numbers, metavar="N,N", help="(1)")
    parser.add_argument("--threads", default=_threads(), type=numbers, metavar="N,N", help="(1,2)")
    parser.add_argument("--iterations", default=50, type=positive, metavar="N", help="runs of each case (50)")


def _threads() -> list[int]:
    return sorted({1, min(2, len(os.sched_getaffinity(0)))})


def here(name: str) -> CpuTarget:
    """The target called `name`, or this machine's own.  Raises UsageError for one that does not run here."""
    target = native_target() if name == NATIVE else target_named(name)
    if not supports(target):
        raise UsageError(f"target: expected one that {processor_name()} runs, got {name}")
    return target


def measured(
    chosen: Sequence[tuple[str, Case]],
    target: CpuTarget,
    effort: argparse.Namespace,
    peaks: Mapping[str, Mapping[str, float]],
) -> Iterator[dict[str, Any]]:
    """The figures of every case, compiled once for all thread counts."""
    for arithmetic, case in chosen:
        for batch in effort.batches:
            ready = Ready(case, target, batch)
            for threads in effort.threads:
                cost = ready.cost(threads, effort.iterations)
                label = {"op": case.name, "in": arithmetic, "target": target.name, "batch": batch, "threads": threads}
                yield label | figures(cost, peaks_on(peaks, threads))


def peaks_on(peaks: Mapping[str, Mapping[str, float]], threads: int) -> dict[str, float]:
    """Peaks by arithmetic, of those by arithmetic and thread count."""
    return {arithmetic: by_count[str(threads)] for arithmetic, by_count in peaks.items()}


def figures(cost: Cost, peaks: Mapping[str, float]) -> dict[str, Any]:
    """A cost ready for JSON; its shares of the peak, in the median and in the best run, where it multiplies."""
    ideal_s = cost.ideal_s(peaks)
    return {
        "ms": cost.seconds * 1e3,
        "least_ms": cost.least_s * 1e3,
        "gflops": cost.gflops,
        "peak_fraction": ideal_s / cost.seconds if ideal_s else None,
        "best_peak_fraction": ideal_s / cost.least_s if ideal_s else None,
        "gigabytes_s": cost.gigabytes_s,
    }


def measures(result: Mapping[str, Any]) -> tuple[str, str, str, str, str]:
    """ms, GOP/s, shares of peak, GB/s; those in the middle only where there are multiply-adds."""
    shares = [result["peak_fraction"], result["best_peak_fraction"]]
    speed = f"{result['gflops']:.0f}" if result["gflops"] else "-"
    median, best = ("-" if share is None else f"{share:.0%}" for share in shares)
    return (f"{result['ms']:.4f}", speed, median, best, f"{result['gigabytes_s']:.1f}")


def cells_of(result: Mapping[str, Any]) -> tuple[object, ...]:
    """A row of the table."""
    return (result["op"], result["in"], result["batch"], *measures(result))
