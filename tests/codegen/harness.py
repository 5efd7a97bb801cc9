"""Compiled graphs for tests: every array ends at a page that nobody may touch, and what is not written yet is NaN."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import llvmlite.binding as llvm
import numpy as np

from alula.codegen.pieces import pieces_of
from alula.codegen.program import Program, compile_graph
from alula.core.dims import symbol
from alula.core.dtype import Array, DType, cast_array
from alula.core.target import CpuTarget
from alula.ir.graph import Graph, Value
from alula.ir.op import Op
from alula.ir.types import TensorType
from alula.ops.reference import bind_sizes, run_reference
from tests.codegen.conftest import NUMBERS, linker
from tests.ops.cases import fill

N = symbol("N")
EXPORTS = ("alula_run", "alula_pool_create", "alula_pool_destroy")
LIBC = ctypes.CDLL(None, use_errno=True)
HALF_ULP = 2.0**-24  # of 1, in float32


def guarded(size: int) -> Array:
    """`size` bytes of ones just before a page that can be neither read nor written."""
    pages = -(-size // mmap.PAGESIZE)
    memory = mmap.mmap(-1, (pages + 1) * mmap.PAGESIZE)
    whole = np.frombuffer(memory, np.uint8)
    end = pages * mmap.PAGESIZE
    if LIBC.mprotect(ctypes.c_void_p(whole.ctypes.data + end), ctypes.c_size_t(mmap.PAGESIZE), 0):
        raise OSError(ctypes.get_errno(), "mprotect")
    whole[:end] = 0xFF
    return whole[end - size : end]


def guarded_copy(array: Array) -> Array:
    """The array in guarded memory."""
    copy = guarded(array.nbytes).view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def table(arrays: Sequence[Array]) -> ctypes.Array[ctypes.c_void_p]:
    """Their addresses, as `alula_run` takes them."""
    return (ctypes.c_void_p * max(1, len(arrays)))(*(array.ctypes.data for array in arrays))


class Compiled:
    """A linked program with a pool of `threads`.  Calls take one array an input and give all outputs."""

    def __init__(self, graph: Graph, target: CpuTarget, threads: int = 2) -> None:
        self.graph, self.threads = graph, threads
        self.program: Program = compile_graph(graph, target)
        builder = llvm.JITLibraryBuilder().add_object_img(self.program.object).add_current_process()
        for name in EXPORTS:
            builder.export_symbol(name)
        self.library = builder.link(linker(), f"program{next(NUMBERS)}")
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        self.create = ctypes.CFUNCTYPE(pointer, size)(self.library["alula_pool_create"])
        self.destroy = ctypes.CFUNCTYPE(None, pointer)(self.library["alula_pool_destroy"])
        self.start = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, size, size)(self.library["alula_run"])
        self.pool = self.create(threads)
        constants = [value.data for value in graph.constants()]
        self.constants = [guarded_copy(constants[number]) for number in self.program.constants]

    def __call__(self, *inputs: Array, threads: int | None = None, stamps: Array | None = None) -> tuple[Array, ...]:
        sizes = bind_sizes(self.graph, inputs)
        batch = next(iter(sizes.values()), 1)
        given = [guarded_copy(array) for array in inputs]
        outputs = [empty(value.type, sizes) for _, value in self.graph.outputs]
        held = pieces_of(batch, threads or self.threads, self.program.piece).held
        arena = guarded(-(-self.program.arena_bytes * held // 64) * 64 + self.program.spare_bytes)
        scratch = guarded(self.program.scratch_bytes * self.threads)
        constants = table(self.constants)
        memory = (ctypes.addressof(constants), arena.ctypes.data, scratch.ctypes.data, self.pool)
        program = (ctypes.c_void_p * 5)(*memory, None if stamps is None else stamps.ctypes.data)
        self.start(program, table(given), table(outputs), batch, threads or self.threads)
        return tuple(outputs)

    @property
    def labels(self) -> list[str]:
        """Of the program's steps, in order."""
        return [step.label for step in self.program.steps]

    def close(self) -> None:
        """End the pool's threads; their code goes with the object."""
        if self.pool:
            self.destroy(self.pool)
            self.pool = None


def empty(type: TensorType, sizes: dict[str, int]) -> Array:
    """An array of a type with ones in all its bits, in guarded memory."""
    shape = type.at(sizes)
    return guarded(int(np.prod(shape)) * type.dtype.bytes).view(type.dtype.numpy).reshape(shape)


def graph_of(op: Op, *operands: TensorType | Array, chain: Sequence[Op] = ()) -> Graph:
    """One op with all its outputs, or the ops of `chain` after it; types become inputs, arrays constants."""
    graph = Graph("test", {"N": (1, 64)})
    node = graph.add_node(op, *(operand_value(graph, operand) for operand in operands), origin="test:1")
    for following in chain:
        node = graph.add_node(following, node.output)
    for number, value in enumerate(node.outputs):
        graph.output(f"y{number or ''}", value)
    return graph


def joined(*graphs: Graph) -> Graph:
    """All graphs side by side in one, so that they are compiled at once."""
    whole = Graph("joined", {"N": (1, 64)})
    for number, graph in enumerate(graphs):
        for value in graph.inputs:
            value.name = f"{value.name}_{number}"
        whole.inputs += graph.inputs
        whole.nodes += graph.nodes
        whole.outputs += [(f"{name}_{number}", value) for name, value in graph.outputs]
    return whole


def operand_value(graph: Graph, operand: TensorType | Array) -> Value:
    """A new input or constant."""
    if isinstance(operand, TensorType):
        return graph.input(f"x{len(graph.inputs)}", operand)
    return graph.constant(operand)


def f32(*shape: object) -> TensorType:
    """A float32 type."""
    return TensorType(DType.F32, shape)  # type: ignore[arg-type]


def bf16(array: Array) -> Array:
    """The nearest bfloat16 of each number."""
    return cast_array(array, DType.BF16)


def random_bytes(dtype: DType, *shape: int, seed: int = 0) -> Array:
    """u8 or i8 of all bits, a quarter of them the ends of the range."""
    random = np.random.default_rng(seed)
    info = np.iinfo(dtype.numpy)
    values = random.integers(info.min, info.max + 1, shape, dtype.numpy)
    ends = random.choice(np.array([info.min, info.max], dtype.numpy), shape)
    return np.where(random.random(shape) < 0.25, ends, values)


def random_array(type: TensorType, batch: int, seed: int = 0) -> Array:
    """Normal numbers, or integers of all bits."""
    return fill(type, {"N": batch}, seed)


@dataclass(frozen=True)
class Result:
    """What a differential test found: inputs, the program's outputs and the reference's."""

    compiled: Compiled
    inputs: list[Array]
    outputs: tuple[Array, ...]
    expected: tuple[Array, ...]


def run(compiled: Compiled, inputs: Sequence[Array] | None = None, batch: int = 5) -> Result:
    """Runs a graph at batch 5 and holds batches 1 and 2 and other thread counts to the same bits.

    Batches are compared where the first axis of every input and output is the batch.
    """
    graph = compiled.graph
    arrays = list(inputs or [random_array(value.type, batch, n) for n, value in enumerate(graph.inputs)])
    outputs = compiled(*arrays)
    for threads in range(1, compiled.threads + 1):
        same_bits(compiled(*arrays, threads=threads), outputs)
    ports = [*graph.inputs, *(value for _, value in graph.outputs)]
    if graph.inputs and all(value.type.shape[:1] == (N,) for value in ports):
        for first, last in ((0, 1), (1, 2), (batch - 1, batch), (1, 3)):
            rows = compiled(*(array[first:last] for array in arrays))
            same_bits(rows, [output[first:last] for output in outputs])
    return Result(compiled, arrays, outputs, run_reference(graph, arrays))


def same_bits(ours: Sequence[Array], others: Sequence[Array]) -> None:
    """Every bit is equal."""
    for one, other in zip(ours, others, strict=True):
        assert one.shape == other.shape
        assert one.tobytes() == other.tobytes()


def assert_equal(result: Result) -> None:
    """What only moves elements moves every bit."""
    same_bits(result.outputs, result.expected)


def assert_summed(result: Result, build: Callable[[Callable[[Array], Array]], Graph], terms: int) -> None:
    """|y - reference| <= (terms + 4) half ulps of the sum of the terms' sizes, as any order of `terms` sums keeps.

    `build(f)` is the graph with `f` applied to its constants.
    """
    sizes = run_reference(build(np.abs), [np.abs(array) for array in result.inputs])
    for ours, exact, size in zip(result.outputs, result.expected, sizes, strict=True):
        bound = (terms + 4) * HALF_ULP * size.astype(np.float64)
        error = np.abs(ours.astype(np.float64) - exact)
        assert np.all(error <= bound), f"off by {np.max(error / np.maximum(bound, 1e-300))} bounds"


def assert_narrowed(result: Result, share: float = 0.005) -> None:
    """Bytes and bfloat16 are those of the reference; a `share` may be the next ones, for float32 came before.

    bfloat16 near 0 may be off by as much as the next one of 2**-6; float32 outputs by four half ulps.
    """
    for ours, exact in zip(result.outputs, result.expected, strict=True):
        narrow = ours.dtype != np.float32
        first, second = (cast_array(array, DType.F32).astype(np.float64) for array in (ours, exact))
        step = 1 if ours.dtype == np.uint8 else 2.0**-7 if narrow else 4 * HALF_ULP
        size = 1 if ours.dtype == np.uint8 else np.maximum(np.abs(second), 2.0**-6 if narrow else 0)
        off = np.abs(first - second)
        assert np.all(off <= step * size), f"off by {np.max(off / np.maximum(step * size, 1e-300))} steps"
        moved = (off > 2.0**-16).mean() if off.size else 0.0
        assert not narrow or moved <= share, f"{moved} are off"


def assert_close(result: Result, ulps: float, floor: float = 0.0) -> None:
    """Off by at most so many ulps of each element, of `floor` where that is larger; NaN where the reference has it."""
    for ours, exact in zip(result.outputs, result.expected, strict=True):
        with np.errstate(invalid="ignore"):
            bound = ulps * 2 * HALF_ULP * np.maximum(np.abs(exact.astype(np.float64)), floor)
            error = np.abs(ours.astype(np.float64) - exact)
            same = (np.isnan(ours) & np.isnan(exact)) | (ours == exact) | (error <= bound)
        assert np.all(same), f"off by {error[~same][:5]} for {exact[~same][:5]}"
