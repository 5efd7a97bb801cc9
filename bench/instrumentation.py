"""`python -m bench.instrumentation MODEL.alula ...`: what it costs a run that it could be profiled, and be timed.

Three ways to run a model take turns.  *bare*: its program generated without the places where a profile's stamps are
taken, in a loop that does nothing else.  *plain*: the program as it is, no stamps asked for, in the same loop.
*streams*: the program as it is, by the engine of `alula perf` and `mm_run`, which looks at the clock after every run.
Where memory comes to lie makes a per cent or two: so sessions are opened anew several times, between other memory.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

import alula
from alula.cli.inputs import random_inputs
from alula.cli.options import add_json, add_threads, check_writable, positive
from alula.cli.report import print_table, write_json
from alula.cli.statistics import difference_p, ratio_interval
from alula.cli.streams import Inputs, Limits, Streams
from alula.codegen import program as codegen
from alula.runtime.session import Session
from bench.command import DONE, WORK_FAILED, Parser, command, machine
from bench.threads import check_possible

OPENINGS = 6
SETTLING_RUNS = 3  # of a turn, before those that count: they wake the threads
LARGEST_BALLAST = 1 << 20
SIGNIFICANT, MOST = 0.05, 1.01
COLUMNS = ("model", "way", "ms", "/ bare", "95 % interval", "p", "kept")
Turn = Callable[[], float]  # seconds of one run, on average over some


def bare_session(path: Path, threads: int | None, cache: Path) -> Session:
    """A session whose program takes no stamps, and has no code that could; the folder `cache` keeps it."""
    stampless = patch.object(codegen, "_stamper", lambda *_: lambda number: None)
    with stampless, patch.dict(os.environ, ALULA_CACHE=str(cache)):
        return alula.load(path, threads)


def looped(session: Session, inputs: Inputs, runs: int) -> Turn:
    """So many runs, and the clock before and after all of them."""

    def turn() -> float:
        for _ in range(SETTLING_RUNS):
            session.run(*inputs)
        began = time.perf_counter()
        for _ in range(runs):
            session.run(*inputs)
        return (time.perf_counter() - began) / runs

    return turn


def streamed(streams: Streams, inputs: Inputs, runs: int) -> Turn:
    """The same runs by the measuring engine."""

    def turn() -> float:
        (clock,) = streams.run([inputs], Limits(SETTLING_RUNS + runs)).clocks
        return float(clock[-1] - clock[SETTLING_RUNS]) / runs

    return turn


def compared(path: Path, threads: int | None, rounds: int, runs: int) -> list[dict[str, Any]]:
    """For each way its median, and how it compares with the bare one."""
    order = random.Random(0)
    seconds: dict[str, list[float]] = {"bare": [], "plain": [], "streams": []}
    with tempfile.TemporaryDirectory() as cache:
        for _ in range(OPENINGS):
            with ExitStack() as stack:
                ways = _opened(stack, path, threads, runs, Path(cache), order)
                for _ in range(-(-rounds // OPENINGS)):
                    for name in order.sample(list(ways), len(ways)):
                        seconds[name].append(ways[name]())
    bare = np.array(seconds["bare"])
    return [_row(path, name, np.array(of), bare) for name, of in seconds.items()]


def _opened(
    stack: ExitStack, path: Path, threads: int | None, runs: int, cache: Path, order: random.Random
) -> dict[str, Turn]:
    """The ways, opened one after the other in some order, each after some other memory was taken."""

    def bare() -> Turn:
        session = stack.enter_context(closing(bare_session(path, threads, cache)))
        return looped(session, random_inputs(session, session.tuned_batch), runs)

    def plain() -> Turn:
        session = stack.enter_context(closing(alula.load(path, threads)))
        return looped(session, random_inputs(session, session.tuned_batch), runs)

    def streams() -> Turn:
        opened = stack.enter_context(Streams(path, threads))
        session = opened.sessions[0]
        return streamed(opened, random_inputs(session, session.tuned_batch), runs)

    ways = {}
    for way in order.sample([bare, plain, streams], 3):
        ballast = np.ones(order.randrange(1, LARGEST_BALLAST), np.uint8)
        stack.callback(ballast.fill, 0)  # which holds it as long as the sessions
        ways[way.__name__] = way()
    return ways


def _row(path: Path, name: str, of: NDArray[np.float64], bare: NDArray[np.float64]) -> dict[str, Any]:
    low, high = ratio_interval(of, bare)
    p = difference_p(of, bare)
    ratio = float(np.median(of) / np.median(bare))
    row = {"model": path.name, "way": name, "ms": float(np.median(of)) * 1e3, "ratio": ratio}
    return row | {"ratio_low": low, "ratio_high": high, "p": p, "kept": not (p < SIGNIFICANT and low > MOST)}


def main(given: Sequence[str]) -> int:
    """Measures and prints; 1 where a way is slower than the bare one by more than a hundredth, beyond its noise."""
    parser = Parser(prog="python -m bench.instrumentation", description=__doc__)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.alula")
    parser.add_argument("--rounds", default=60, type=positive, metavar="N", help="turns of every way (60)")
    parser.add_argument("--runs", default=50, type=positive, metavar="N", help="runs in a turn (50)")
    add_threads(parser)
    add_json(parser)
    options = parser.parse_args(given)
    check_writable(options.json)
    check_possible(options.models)
    known = machine(("llvmlite", "numpy"), [])
    rows = [row for path in options.models for row in compared(path, options.threads, options.rounds, options.runs)]
    print_table(f"{known['processor']}, load average {known['load_average']:.1f} before", COLUMNS, map(_cells, rows))
    write_json(options.json, {"machine": known, "results": rows})
    return DONE if all(row["kept"] for row in rows) else WORK_FAILED


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    interval = f"{row['ratio_low']:.4f} to {row['ratio_high']:.4f}"
    kept = "yes" if row["kept"] else "NO"
    return row["model"], row["way"], f"{row['ms']:.4f}", f"{row['ratio']:.4f}", interval, f"{row['p']:.2g}", kept


if __name__ == "__main__":
    sys.exit(command(main))
