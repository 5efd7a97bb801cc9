"""Sessions side by side: images a second of one alone, of two in one process, and of two in processes of their own."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from multiprocessing.connection import Connection
from pathlib import Path

import alula
from alula.core.dtype import Array
from alula.core.errors import AlulaError
from alula.runtime.session import Session
from bench.arithmetic import values
from bench.single import placed

SIDE_BY_SIDE = 2
LOAD_S = 120  # that another process may take
END_S = 10


def batch_of(session: Session, batch: int) -> list[Array]:
    """Random inputs for a session."""
    return [
        placed(values(port.dtype, *(batch if size is None else size for size in port.shape))) for port in session.inputs
    ]


def rate(session: Session, inputs: Sequence[Array], seconds: float) -> float:
    """Images a second of one session that runs for about so long."""
    started, runs = time.monotonic(), 0
    while (elapsed := time.monotonic() - started) < seconds or not runs:
        session.run(*inputs)
        runs += 1
    return runs * len(inputs[0]) / elapsed


class Partner:
    """Another process that has the model loaded, with one session for each of some thread counts."""

    def __init__(self, path: Path, threads: Sequence[int]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would take this process's threads' locks along
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, path, threads), daemon=True)
        self._process.start()
        theirs.close()
        if not self._pipe.poll(LOAD_S) or self.ended() is not None:
            raise AlulaError(f"process for {path.name}: expected a loaded model, got {self._process.exitcode}")

    def start(self, threads: int, seconds: float) -> None:
        """Run for so long."""
        self._pipe.send((threads, seconds))

    def ended(self) -> float | None:
        """What it sends next: images a second of what was started, or None once it has loaded."""
        try:
            sent: float | None = self._pipe.recv()
        except (EOFError, OSError):
            raise AlulaError("process beside: expected an answer, got the end of it") from None
        return sent

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(END_S)
        self._process.kill()


def _serve(pipe: Connection, path: Path, threads: Sequence[int]) -> None:
    """The other process's life: one rate for every request, until the pipe is closed."""
    with ExitStack() as stack:
        sessions = {count: stack.enter_context(alula.load(path, threads=count)) for count in threads}
        inputs = batch_of(next(iter(sessions.values())), 1)
        pipe.send(None)
        while True:
            try:
                count, seconds = pipe.recv()
            except EOFError:
                return
            pipe.send(rate(sessions[count], inputs, seconds))


def throughputs(path: Path, threads: Sequence[int], rounds: int, seconds: float) -> dict[str, list[float]]:
    """Images a second, round by round, of every way to share the machine; each runs for `seconds` in a round."""
    with ExitStack() as stack:
        ways: dict[str, Callable[[], float]] = {}
        pool = stack.enter_context(ThreadPoolExecutor(SIDE_BY_SIDE))
        partners = [stack.enter_context(closing(Partner(path, threads))) for _ in range(SIDE_BY_SIDE)]
        for count in threads:
            sessions = [stack.enter_context(alula.load(path, threads=count)) for _ in range(SIDE_BY_SIDE)]
            ways |= _ways(count, sessions, partners, pool, seconds)
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                found[name].append(way())
    return found


def _ways(
    threads: int, sessions: Sequence[Session], partners: Sequence[Partner], pool: ThreadPoolExecutor, seconds: float
) -> dict[str, Callable[[], float]]:
    inputs = batch_of(sessions[0], 1)

    def together() -> float:
        return sum(pool.map(lambda session: rate(session, inputs, seconds), sessions))

    def apart() -> float:
        for partner in partners:
            partner.start(threads, seconds)
        return sum(partner.ended() or 0.0 for partner in partners)

    return {
        way_name("one session", threads): lambda: rate(sessions[0], inputs, seconds),
        way_name("two sessions", threads): together,
        way_name("two processes", threads): apart,
    }


def way_name(what: str, threads: int) -> str:
    """`two sessions, 2 threads each`."""
    return f"{what}, {threads} thread{'s' * (threads > 1)}{' each' * what.startswith('two')}"
