"""An engine in a process of its own: no other engine's threads, affinity or memory come near it."""

from __future__ import annotations

import multiprocessing
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from alula.core.dtype import Array
from alula.core.errors import AlulaError
from bench.engines import Engine

END_S = 10


@dataclass(frozen=True, slots=True)
class Turn:
    """Seconds of each timed run, and CPU seconds, of all threads, over them together."""

    seconds: list[float]
    cpu_s: float


class Worker:
    """An engine that is loaded and waits, asleep, for its turns; `images` are the batch that it is timed on."""

    def __init__(self, name: str, kind: type[Engine], model: Path, images: Array, threads: int) -> None:
        self.name = name
        context = multiprocessing.get_context("spawn")  # a fork would take this process's threads' locks along
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, kind, model, images, threads), daemon=True)
        self._process.start()
        theirs.close()

    def output(self, images: Array) -> Array:
        """The engine's answer to these images, of which there are some whole batches."""
        output: Array = self._ask(images)
        return output

    def turn(self, iterations: int) -> Turn:
        """One untimed run, which brings back threads and caches, then timed ones."""
        turn: Turn = self._ask(iterations)
        return turn

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(END_S)
        self._process.kill()

    def _ask(self, question: int | Array) -> Any:
        """The worker's answer.  Raises AlulaError where it failed or ended."""
        try:
            self._pipe.send(question)
            answer = self._pipe.recv()
        except (EOFError, OSError):
            self._process.join(END_S)
            code = self._process.exitcode
            raise AlulaError(f"engine {self.name}: expected an answer, got the end of its process, {code}") from None
        if isinstance(answer, Exception):
            raise AlulaError(f"engine {self.name}: expected an answer, got {answer!r}") from answer
        return answer


def _serve(pipe: Connection, kind: type[Engine], model: Path, images: Array, threads: int) -> None:
    """The worker's life: answers until the other end of the pipe is closed."""
    engine = kind()
    try:
        engine.prepare(model, images.shape, threads)
        while True:
            asked: int | Array = pipe.recv()
            pipe.send(_turn(engine, images, asked) if isinstance(asked, int) else _answer(engine, asked, len(images)))
    except EOFError:
        engine.close()
    except Exception as error:  # noqa: BLE001 -- whatever an engine raises, the parent is to say it
        pipe.send(error)


def _answer(engine: Engine, images: Array, batch: int) -> Array:
    return np.concatenate([engine.run(part) for part in np.split(images, len(images) // batch)])


def _turn(engine: Engine, images: Array, iterations: int) -> Turn:
    engine.run(images)
    seconds = []
    cpu = time.process_time()
    for _ in range(iterations):
        entered = time.perf_counter()
        engine.run(images)
        seconds.append(time.perf_counter() - entered)
    return Turn(seconds, time.process_time() - cpu)
