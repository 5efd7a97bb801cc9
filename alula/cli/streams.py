"""Sessions of a model side by side, and the time of every run: what `alula perf` and `mm_run` measure with."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from alula.cli.progress import REDRAW_S, progress
from alula.core.dtype import Array

if TYPE_CHECKING:
    from alula.runtime.session import Session

Inputs = Sequence[Array]  # one array for each input of the model
PERCENT = 100


@dataclass(frozen=True, slots=True)
class Limits:
    """How long a stream runs: until it has begun `iterations` runs and `duration_s` is over, the later of both.

    With `together`, all streams take from one stock of `iterations`, as from one large query.
    """

    iterations: int
    duration_s: float = 0.0
    together: bool = False


class Turns:
    """Says before every run whether there is to be another one."""

    def __init__(self, limits: Limits) -> None:
        self._left = iter(range(limits.iterations))  # `next` of it is one step of the interpreter: threads may share it
        self._until = perf_counter() + limits.duration_s

    def more(self) -> bool:
        return next(self._left, None) is not None or perf_counter() < self._until

    def end(self) -> None:
        """No more from now on."""
        self._left, self._until = iter(range(0)), 0.0


@dataclass(frozen=True, slots=True)
class Timed:
    """For each stream the clock in seconds[runs + 1]: at its start, and whenever a run had ended."""

    clocks: tuple[NDArray[np.float64], ...]

    @property
    def seconds(self) -> NDArray[np.float64]:
        """Of every run, stream by stream."""
        return np.concatenate([np.diff(clock) for clock in self.clocks])

    @property
    def wall_s(self) -> float:
        """From the first stream's start to the last one's end."""
        return float(max(clock[-1] for clock in self.clocks) - min(clock[0] for clock in self.clocks))

    def of_group(self, group: int, groups: int) -> NDArray[np.float64]:
        """Seconds of the runs that had the inputs of number `group`: every stream takes them in turn."""
        return np.concatenate([np.diff(clock)[group::groups] for clock in self.clocks])


def shares(threads: int, streams: int) -> list[int]:
    """The threads of each stream: `threads` shared out, and one at least."""
    return [max(1, threads // streams + (number < threads % streams)) for number in range(streams)]


class Streams:
    """`streams` sessions that share `threads` compute threads (by default, as many as this process may use).

    Each is opened and run by a thread of its own.  With `bound`, each keeps to processors of its own, as far as there
    are so many.
    """

    def __init__(
        self,
        path: Path,
        threads: int | None = None,
        streams: int = 1,
        bound: bool = False,
        sizes: Mapping[str, int] | None = None,
    ) -> None:
        with ExitStack() as opened:
            total, self.threads_why = (threads, "as asked") if threads else _usable()
            counts = shares(total, streams)
            self._workers = [opened.enter_context(ThreadPoolExecutor(1, f"stream-{n}")) for n in range(streams)]
            places = _places(counts) if bound else [None] * streams
            self.sessions: list[Session] = []
            for worker, count, place in zip(self._workers, counts, places, strict=True):
                self.sessions.append(worker.submit(_opened, path, count, place, sizes).result())
                opened.callback(self.sessions[-1].close)
            self._opened = opened.pop_all()

    @property
    def threads(self) -> int:
        """Compute threads of all sessions together."""
        return sum(session.threads for session in self.sessions)

    def warm_up(self, groups: Sequence[Inputs], limits: Limits) -> list[float]:
        """Runs what `run` will run, and gives the seconds that each stream took."""
        timed = self.run(groups, limits)
        return [float(clock[-1] - clock[0]) for clock in timed.clocks]

    def run(self, groups: Sequence[Inputs], limits: Limits, shown: str = "") -> Timed:
        """Runs all streams at once, each on the groups of inputs in turn; with a progress bar called `shown`."""
        turns = [Turns(limits)] * len(self.sessions) if limits.together else [Turns(limits) for _ in self.sessions]
        clocks: list[list[float]] = [[] for _ in self.sessions]
        start = threading.Barrier(len(self.sessions))
        running = [
            worker.submit(_run, session, groups, turn, start.wait, clock)
            for worker, session, turn, clock in zip(self._workers, self.sessions, turns, clocks, strict=True)
        ]
        try:
            _watch(running, clocks, limits, shown)
        except BaseException:
            for turn in turns:
                turn.end()
            raise
        return Timed(tuple(np.array(clock) for clock in clocks))

    def close(self) -> None:
        """End the sessions and their threads."""
        self._opened.close()

    def __enter__(self) -> Streams:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _usable() -> tuple[int, str]:
    from alula.runtime.host import default_threads

    return default_threads()


def _places(counts: Sequence[int]) -> list[set[int] | None]:
    """Processors for streams of so many threads each, one after the other; when all are taken, from the first again."""
    usable = sorted(os.sched_getaffinity(0))
    firsts = np.cumsum([0, *counts[:-1]])
    return [
        {usable[(int(first) + number) % len(usable)] for number in range(count)}
        for first, count in zip(firsts, counts, strict=True)
    ]


def _opened(path: Path, threads: int, place: set[int] | None, sizes: Mapping[str, int] | None) -> Session:
    """A session whose threads keep to the processors of `place`: they inherit them from the thread that starts them."""
    import alula

    if place is not None:
        os.sched_setaffinity(0, place)
    return alula.load(path, threads=threads, sizes=sizes)


def _run(
    session: Session, groups: Sequence[Inputs], turns: Turns, start: Callable[[], int], clock: list[float]
) -> None:
    """One stream.  A run's time is what passes between two looks at the clock: nothing falls between the runs."""
    run, more, note, now = session.run, turns.more, clock.append, perf_counter
    start()
    note(now())
    for inputs in cycle(groups):
        if not more():
            return
        run(*inputs)
        note(now())


def _watch(running: Sequence[Future[None]], clocks: Sequence[list[float]], limits: Limits, what: str) -> None:
    """Waits for the streams, or raises what the first one raised; it wakes up only where a bar can be seen."""
    began, most = perf_counter(), max(1, limits.iterations * (1 if limits.together else len(running)))
    waiting = set(running)
    with progress(what, PERCENT) as shown:
        while waiting:
            ended, waiting = wait(waiting, REDRAW_S if shown.shown else None, FIRST_EXCEPTION)
            for one in ended:
                one.result()
            through = sum(map(len, clocks)) / most
            if limits.duration_s:
                through = min(through, (perf_counter() - began) / limits.duration_s)
            shown.advance(int(min(through, 1.0) * PERCENT) - shown.done)
