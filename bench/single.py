"""One small graph, compiled as a whole model is, and timed."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alula.cli.peaks import macs_by_arithmetic
from alula.codegen.packing import pack_weights
from alula.codegen.program import Program, compile_graph
from alula.core.dims import dim_at, symbol
from alula.core.dtype import Array, DType
from alula.core.target import CpuTarget
from alula.ir.graph import Graph, Value
from alula.ir.types import TensorType
from alula.runtime.native import NativeProgram, aligned
from bench.arithmetic import values

SYMBOL = "N"
LARGEST_BATCH = 512
WARM_UP_RUNS = 3
COPIES = 4  # of the op in one program; the first does not count, for it wakes the threads
Make = Callable[..., Value]  # of a graph and its inputs


@dataclass(frozen=True, slots=True)
class Case:
    """One op: `make` adds it to a graph whose inputs are dtype[N,*shape], a shape for each."""

    name: str
    shapes: Sequence[tuple[int, ...]]
    make: Make
    dtype: DType = DType.F32

    def graph(self, copies: int = 1) -> Graph:
        """The graph of this op alone, or of some such ops on the same inputs, each with weights of its own."""
        graph = Graph(self.name, {SYMBOL: (1, LARGEST_BATCH)})
        types = [TensorType(self.dtype, (symbol(SYMBOL), *shape)) for shape in self.shapes]
        inputs = [graph.input(f"x{place}", type) for place, type in enumerate(types)]
        for copy in range(copies):
            graph.output(f"y{copy}", self.make(graph, *inputs))
        return graph


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run takes: the median second and the least, multiply-adds by arithmetic, and bytes moved.

    The bytes are those of operands and results, weights included.
    """

    seconds: float
    least_s: float
    work: Mapping[str, int]
    moved_bytes: int

    @classmethod
    def together(cls, parts: Sequence[Cost]) -> Cost:
        """One after the other."""
        work = sum((Counter(part.work) for part in parts), Counter[str]())
        seconds, least_s = (sum(getattr(part, name) for part in parts) for name in ("seconds", "least_s"))
        return cls(seconds, least_s, work, sum(part.moved_bytes for part in parts))

    @property
    def macs(self) -> int:
        """All multiply-adds."""
        return sum(self.work.values())

    @property
    def gflops(self) -> float:
        """Billions of operations a second, a multiply-add being two."""
        return 2 * self.macs / self.seconds / 1e9

    @property
    def gigabytes_s(self) -> float:
        """Billions of bytes a second."""
        return self.moved_bytes / self.seconds / 1e9

    def ideal_s(self, peaks: Mapping[str, float]) -> float:
        """Seconds that the multiply-adds take at the peaks, in billions of operations a second."""
        return sum(2 * count / peaks[arithmetic] / 1e9 for arithmetic, count in self.work.items())


class Ready:
    """A case compiled for a target, with its operands for one batch."""

    def __init__(self, case: Case, target: CpuTarget, batch: int) -> None:
        graph = case.graph(COPIES)
        pack_weights(graph, target)
        self.program: Program = compile_graph(graph, target)
        self.batch = batch
        self._constants = [placed(value.data) for value in graph.constants() if value.data is not None]
        self._inputs = [placed(values(case.dtype, batch, *shape)) for shape in case.shapes]
        self.outputs = [empty(value, batch) for _, value in graph.outputs]

    def cost(self, threads: int, iterations: int) -> Cost:
        """What one op costs, its data as warm in the caches as the run before left them."""
        with self.running(threads) as native:
            self.seconds(native, WARM_UP_RUNS)
            seconds = self.seconds(native, iterations)
        work = {name: self.batch * macs // COPIES for name, macs in macs_by_arithmetic(self.program.steps).items()}
        moved = sum(array.nbytes for array in (*self._constants, *self.outputs)) // COPIES
        moved += sum(array.nbytes for array in self._inputs)
        return Cost(float(np.median(seconds)), float(seconds.min()), work, moved)

    @contextmanager
    def running(self, threads: int) -> Iterator[NativeProgram]:
        """The linked program, each of its threads on a processor of its own: else they may share one for long."""
        others = _tasks()
        with closing(NativeProgram(self.program, self._constants, threads)) as native, _apart(_tasks() - others):
            yield native

    def seconds(self, native: NativeProgram, iterations: int) -> NDArray[np.float64]:
        """Seconds[iterations] of one op, by the processor's clock: without the call, and without the first copy."""
        began = time.perf_counter()
        runs = [self._run(native) for _ in range(iterations)]
        elapsed = time.perf_counter() - began
        stamps = np.stack(runs)
        pace = (stamps[-1].max() - stamps[0].min()) / elapsed
        ticks = native.pieces(self.batch).lasting @ np.diff(stamps)
        first = len(self.program.steps) // COPIES
        seconds: NDArray[np.float64] = ticks[:, first:].sum(axis=1) / (COPIES - 1) / pace
        return seconds

    def _run(self, native: NativeProgram) -> NDArray[np.int64]:
        pieces = len(native.pieces(self.batch).lasting)
        stamps = np.full((pieces, len(self.program.steps) + 1), np.iinfo(np.int64).max)
        native.run(self._inputs, self.outputs, self.batch, stamps)
        return stamps


def _tasks() -> set[int]:
    """The threads of this process, as the system numbers them."""
    return {int(path.name) for path in Path("/proc/self/task").iterdir()}


@contextmanager
def _apart(tasks: set[int]) -> Iterator[None]:
    """This thread on the first processor, each other task on one of those after it, as far as there are enough."""
    allowed = os.sched_getaffinity(0)
    places = sorted(allowed)
    for number, task in enumerate(sorted(tasks), 1):
        os.sched_setaffinity(task, {places[number % len(places)]})
    os.sched_setaffinity(0, {places[0]} if tasks else allowed)
    try:
        yield
    finally:
        os.sched_setaffinity(0, allowed)


def measure(case: Case, target: CpuTarget, batch: int, threads: int, iterations: int) -> Cost:
    """The case's cost on one batch."""
    return Ready(case, target, batch).cost(threads, iterations)


def placed(array: Array) -> Array:
    """The array where a model file's sections and arenas are: on a cache line."""
    copy = aligned(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def empty(value: Value, batch: int) -> Array:
    """Memory for a value of a graph."""
    shape = tuple(dim_at(dim, {SYMBOL: batch}) for dim in value.type.shape)
    dtype = np.dtype(value.type.dtype.numpy)
    return aligned(dtype.itemsize * int(np.prod(shape))).view(dtype).reshape(shape)
