"""`python -m bench.threads MODEL.alula ...`: what threads gain, and what they cost where they have to share.

For each model, everything in turns: the speed-up of two threads; the time on two threads while a busy loop holds one
of their processors; the images a second of two sessions at once, in one process and in two, beside one session alone.
And once: the time of a barrier.  Two threads that got clearly fewer than two processors say that other work ran.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import alula
from alula.cli.options import add_json, check_writable, positive
from alula.cli.report import print_table, write_json
from alula.core.dtype import Array
from alula.core.errors import UsageError
from alula.ir.graph import Graph, Value
from alula.ops.softmax import Softmax
from alula.runtime.host import native_target
from alula.runtime.session import Session
from bench.command import DONE, WORK_FAILED, Parser, command, machine
from bench.measure import PAUSE_S, Timing
from bench.sharing import batch_of, throughputs, way_name
from bench.single import Case, Ready
from bench.worker import Turn

THREADS = (1, 2)
SPEED_UP, BUSY, BARRIER_US, TOTAL = 1.85, 1.4, 2.0, 0.8
STEPS = 100  # of a program that does next to nothing but wait
BARRIER_RUNS = 500
SHARING_S = 1.0  # of every way to share the machine, in each round
SPIN = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
while os.getppid() == int(sys.argv[2]):  # never longer than the benchmark
    for _ in range(1_000_000): pass
"""
COLUMNS = ("model", "figure", "got", "bar", "kept")


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure and its bar: the least where `least`, else the most; none says that it is for comparison."""

    model: str
    name: str
    got: float
    bar: float | None = None
    least: bool = False

    @property
    def kept(self) -> bool:
        """True where there is no bar or it holds."""
        return self.bar is None or (self.got >= self.bar if self.least else self.got <= self.bar)

    @property
    def cells(self) -> tuple[object, ...]:
        """A row of the table."""
        sign = ">=" if self.least else "<="
        bar, kept = ("", "") if self.bar is None else (f"{sign} {self.bar:g}", "yes" if self.kept else "NO")
        return (self.model, self.name, f"{self.got:.3g}", bar, kept)


@contextmanager
def busy_loop(processor: int) -> Iterator[subprocess.Popen[bytes]]:
    """A process that uses up one processor whenever it is let go on; it is stopped at first."""
    process = subprocess.Popen([sys.executable, "-c", SPIN, str(processor), str(os.getpid())])
    process.send_signal(signal.SIGSTOP)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def scaling(path: Path, rounds: int, iterations: int) -> list[Figure]:
    """Two threads against one, by themselves and beside a busy loop: medians of the rounds' ratios."""
    with (
        alula.load(path, threads=1) as one,
        alula.load(path, threads=2) as two,
        busy_loop(max(os.sched_getaffinity(0))) as process,
    ):
        inputs = batch_of(one, 1)
        turns: list[tuple[Turn, Turn, Turn]] = []
        for _ in range(rounds):
            alone, both = (turn(session, inputs, iterations) for session in (one, two))
            process.send_signal(signal.SIGCONT)
            beside = turn(two, inputs, iterations)
            process.send_signal(signal.SIGSTOP)
            turns.append((alone, both, beside))
    timings = [Timing.of(of_one) for of_one in zip(*turns, strict=True)]
    alone_s, both_s, beside_s = (timing.rounds for timing in timings)
    name = path.name
    return [
        Figure(name, "processors that 2 threads got", timings[1].cores),
        Figure(name, "ms on 1 thread", float(np.median(alone_s)) * 1e3),
        Figure(name, "ms on 2 threads", float(np.median(both_s)) * 1e3),
        Figure(name, "ms on 2 threads, busy loop on one processor", float(np.median(beside_s)) * 1e3),
        Figure(name, "speed-up of 2 threads", float(np.median(alone_s / both_s)), SPEED_UP, least=True),
        Figure(name, "2 threads beside a busy loop / 1 thread", float(np.median(beside_s / alone_s)), BUSY),
    ]


def turn(session: Session, inputs: Sequence[Array], iterations: int) -> Turn:
    """After a pause, in which other threads stop spinning, and a run that brings back threads and caches."""
    time.sleep(PAUSE_S)
    session.run(*inputs)
    seconds, cpu = [], time.process_time()
    for _ in range(iterations):
        entered = time.perf_counter()
        session.run(*inputs)
        seconds.append(time.perf_counter() - entered)
    return Turn(seconds, time.process_time() - cpu)


def small_steps(graph: Graph, x: Value) -> Value:
    """A chain of softmaxes of one vector: nothing to share out, so that the steps are barriers and little else."""
    for _ in range(STEPS):
        x = graph.add(Softmax(1), x)
    return x


def barrier() -> Figure:
    """What a step takes longer on two threads than on one, in the best run; each thread has a processor to itself."""
    ready = Ready(Case("barrier", [(16,)], small_steps), native_target(), batch=1)
    one, two = (_least_s(ready, threads) for threads in THREADS)
    return Figure("", "barrier of 2 threads, us", (two - one) / STEPS * 1e6, BARRIER_US)


def _least_s(ready: Ready, threads: int) -> float:
    with ready.running(threads) as native:
        seconds: NDArray[np.float64] = ready.seconds(native, BARRIER_RUNS)
    return float(seconds.min())


def sharing(path: Path, rounds: int) -> list[Figure]:
    """Images a second of all sessions together, and as a share of one session's with two threads."""
    found = throughputs(path, THREADS, rounds, SHARING_S)
    whole = np.array(found[way_name("one session", max(THREADS))])
    figures = [Figure(path.name, f"images/s, {name}", float(np.median(rates))) for name, rates in found.items()]
    for name, rates in found.items():
        if name.startswith("two"):
            share = float(np.median(np.array(rates) / whole))
            figures.append(Figure(path.name, f"{name} / one session, 2 threads", share, TOTAL, least=True))
    return figures


def main(given: Sequence[str]) -> int:
    """Measures and prints; 1 where a bar is missed."""
    parser = Parser(prog="python -m bench.threads", description=__doc__)
    parser.add_argument("models", nargs="+", type=Path, metavar="MODEL.alula")
    parser.add_argument("--rounds", default=5, type=positive, metavar="N", help="turns of everything (5)")
    parser.add_argument("--iterations", default=10, type=positive, metavar="N", help="runs in a turn (10)")
    add_json(parser)
    options = parser.parse_args(given)
    check_writable(options.json)
    check_possible(options.models)
    known = machine(("llvmlite", "numpy"), [])
    found = [barrier()]
    for path in options.models:
        print(f"{path.name} ...", file=sys.stderr)
        found += scaling(path, options.rounds, options.iterations)
        found += sharing(path, options.rounds)
    print_table(
        f"{known['processor']}, load average {known['load_average']:.1f} before", COLUMNS, [f.cells for f in found]
    )
    rows: list[dict[str, Any]] = [{**asdict(figure), "kept": figure.kept} for figure in found]
    write_json(options.json, {"machine": known, "results": rows})
    return DONE if all(figure.kept for figure in found) else WORK_FAILED


def check_possible(models: Sequence[Path]) -> None:
    """Raises UsageError for a file that there is not, and where there is only one processor."""
    for path in models:
        if not path.is_file():
            raise UsageError(f"model file {path}: expected a file, got none")
    if len(os.sched_getaffinity(0)) < max(THREADS):
        raise UsageError(f"processors: expected {max(THREADS)} for this process, got {len(os.sched_getaffinity(0))}")


if __name__ == "__main__":
    sys.exit(command(main))
