"""One small graph, compiled as a whole model is, and timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from alula.codegen.packing import pack_weights
from alula.codegen.program import compile_graph
from alula.core.dims import dim_at, symbol
from alula.core.dtype import Array, DType
from alula.ir.graph import Graph, Value
from alula.ir.types import TensorType
from alula.runtime.host import native_target
from alula.runtime.native import NativeProgram

SYMBOL = "N"
LARGEST_BATCH = 512
WARM_UP_RUNS = 3
Make = Callable[..., Value]  # of a graph and its inputs


@dataclass(frozen=True, slots=True)
class Case:
    """One op: `make` adds it to a graph whose inputs are f32[N,*shape], a shape for each."""

    name: str
    shapes: Sequence[tuple[int, ...]]
    make: Make

    def graph(self) -> Graph:
        """The graph of this op alone."""
        graph = Graph(self.name, {SYMBOL: (1, LARGEST_BATCH)})
        types = [TensorType(DType.F32, (symbol(SYMBOL), *shape)) for shape in self.shapes]
        inputs = [graph.input(f"x{place}", type) for place, type in enumerate(types)]
        graph.output("y", self.make(graph, *inputs))
        return graph


@dataclass(frozen=True, slots=True)
class Cost:
    """What one run takes: the median second, multiply-adds, and bytes of operands and results (weights included)."""

    seconds: float
    macs: int
    moved_bytes: int

    @property
    def gflops(self) -> float:
        """Billions of floating-point operations a second, a multiply-add being two."""
        return 2 * self.macs / self.seconds / 1e9

    @property
    def gigabytes_s(self) -> float:
        """Billions of bytes a second."""
        return self.moved_bytes / self.seconds / 1e9


def weight(*shape: int) -> Array:
    """Standard normal f32, always the same."""
    return np.random.default_rng(len(shape)).standard_normal(shape, dtype=np.float32)


def measure(case: Case, batch: int, threads: int, iterations: int) -> Cost:
    """The case's cost on one batch, its data as warm in the caches as the run before left them."""
    graph = case.graph()
    pack_weights(graph, native_target())
    program = compile_graph(graph, native_target())
    constants = [np.ascontiguousarray(value.data) for value in graph.constants()]
    inputs = [weight(batch, *shape) for shape in case.shapes]
    outputs = [empty(value, batch) for _, value in graph.outputs]
    native = NativeProgram(program, constants, threads)
    try:
        seconds = [_timed(native, inputs, outputs, batch) for _ in range(WARM_UP_RUNS + iterations)][WARM_UP_RUNS:]
    finally:
        native.close()
    macs = batch * sum(step.macs for step in program.steps)
    moved_bytes = sum(array.nbytes for array in (*constants, *inputs, *outputs))
    return Cost(float(np.median(seconds)), macs, moved_bytes)


def empty(value: Value, batch: int) -> Array:
    """Memory for a value of a graph."""
    shape = [dim_at(dim, {SYMBOL: batch}) for dim in value.type.shape]
    return np.empty(shape, value.type.dtype.numpy)


def _timed(native: NativeProgram, inputs: Sequence[Array], outputs: Sequence[Array], batch: int) -> float:
    entered = time.perf_counter()
    native.run(inputs, outputs, batch)
    return time.perf_counter() - entered
