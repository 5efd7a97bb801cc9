"""A model file ready to run: the public `Session`, and `load`, which opens one."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from alula.artifact.model import ModelFile
from alula.artifact.reader import read_model
from alula.codegen.program import Program, StepInfo
from alula.core.dims import Expr
from alula.core.dtype import Array, DType
from alula.core.errors import ShapeError, UsageError
from alula.core.preprocess import Preprocess
from alula.ir.parser import parse_type
from alula.ir.types import TensorType
from alula.runtime.host import default_threads
from alula.runtime.native import NativeProgram
from alula.runtime.programs import prepare, sizes_of, target_here

MOST_PROGRAMS = 8  # that are kept for the sizes met; the one that was not used for longest goes first


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a model; None in its shape is the batch or another size that is open, `type` names it."""

    name: str
    dtype: DType
    shape: tuple[int | None, ...]
    type: TensorType

    @classmethod
    def of(cls, name: str, type: TensorType) -> Port:
        """The port for a value of the graph."""
        return cls(name, type.dtype, tuple(None if isinstance(dim, Expr) else dim for dim in type.shape), type)

    def __str__(self) -> str:
        return f"{self.name} {self.type}"


@dataclass(frozen=True, slots=True)
class _Loaded:
    """A program linked, and what a session says about it."""

    program: Program
    native: NativeProgram
    from_cache: bool
    constant_bytes: int
    prepare_ms: float


class Session:
    """A loaded model.  `run` may be called from any thread; calls take turns.

    Of a file that leaves more sizes open than the batch, each set of them has a program of its own, made (or taken from
    the object cache) when a run brings them; the last few are kept.  `sizes` are those that were asked for when it was
    opened: what the session says of its steps, bytes and multiply-adds is of these.
    """

    def __init__(self, path: Path, threads: int | None = None, sizes: Mapping[str, int] | None = None) -> None:
        started = time.perf_counter()
        if threads is not None and threads < 1:
            raise UsageError(f"threads: expected at least 1, got {threads}")
        self.threads, self.threads_why = default_threads() if threads is None else (threads, "as asked")
        self._lock, self._closed = threading.Lock(), False
        self._programs: OrderedDict[tuple[int, ...], _Loaded] = OrderedDict()
        self._file = read_model(path)
        try:
            self._describe(self._file)
            self.read_ms = (time.perf_counter() - started) * 1e3
            self.size_ranges = sizes_of(self._file)
            self.sizes = asked_sizes(self.size_ranges, sizes or {})
            loaded = self._at(self.sizes)
            self._set_ports(loaded.program)
        except BaseException:
            self._file.close()
            raise
        if not self.size_ranges:
            self._file.close()
        self.from_cache, self.constant_bytes = loaded.from_cache, loaded.constant_bytes
        self.steps: tuple[StepInfo, ...] = loaded.program.steps
        self.macs = sum(step.macs for step in self.steps)
        self.arena_bytes, self.scratch_bytes = loaded.program.arena_bytes, loaded.program.scratch_bytes
        self.prepare_ms = loaded.prepare_ms  # the rest: linking, threads
        self.load_ms = (time.perf_counter() - started) * 1e3

    def run(self, *arrays: Array) -> tuple[Array, ...]:
        """The outputs for one array per input, in order; all share one batch.  Raises ShapeError for another type.

        Arrays are taken as they are where they are contiguous and aligned, copied first where they are not.
        """
        return self._run(arrays, None)

    def profile(self, *arrays: Array) -> NDArray[np.float64]:
        """Seconds that each of `steps` took in one run; they add up to the whole run.

        Raises ShapeError for arrays of other than the session's own sizes: those have other steps.
        """
        sizes, batch = self._sizes(arrays)
        if sizes != self.sizes:
            raise ShapeError(f"profile: expected the session's sizes {written(self.sizes)}, got {written(sizes)}")
        lasting = self._at(sizes).native.pieces(batch).lasting
        stamps = np.full((len(lasting), len(self.steps) + 1), np.iinfo(np.int64).max)
        started = time.perf_counter()
        self._run(arrays, stamps)
        elapsed = time.perf_counter() - started
        ticks = lasting @ np.diff(stamps)
        seconds: NDArray[np.float64] = ticks * (elapsed / max(1.0, ticks.sum()))
        return seconds

    def _run(self, arrays: tuple[Array, ...], stamps: Array | None) -> tuple[Array, ...]:
        sizes, batch = self._sizes(arrays)
        loaded = self._at(sizes)
        inputs = [np.require(array, requirements=("C", "A")) for array in arrays]
        known = {**dict.fromkeys(self._batch_names, batch), **sizes}
        outputs = tuple(np.empty(port.type.at(known), port.dtype.numpy) for port in self.outputs)
        loaded.native.run(inputs, outputs, batch, stamps)
        return outputs

    def workspace_bytes(self, batch: int) -> int:
        """Memory of a run of `batch` images, besides the weights, its inputs and its outputs."""
        return self._at(self.sizes).native.workspace_bytes(batch)

    def close(self) -> None:
        """End the session's threads and let go of its memory."""
        with self._lock:
            self._closed = True
            for loaded in self._programs.values():
                loaded.native.close()
            self._file.close()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _describe(self, file: ModelFile) -> None:
        meta = file.meta
        self.preprocess: Preprocess | None = meta.preprocess
        self.precision, self.batch_range, self.tuned_batch = meta.precision, meta.batch_range, meta.tuned_batch
        self._target = target_here(file)
        self.target = self._target.name

    def _set_ports(self, program: Program) -> None:
        """Inputs and outputs as the file has them: with its open sizes, which a program has not."""
        if self.size_ranges:
            graph = self._file.graph()
            self.inputs = tuple(Port.of(value.name, value.type) for value in graph.inputs)
            self.outputs = tuple(Port.of(name, value.type) for name, value in graph.outputs)
        else:
            self.inputs = tuple(Port.of(name, parse_type(text)) for name, text in program.inputs)
            self.outputs = tuple(Port.of(name, parse_type(text)) for name, text in program.outputs)
        names = {name for port in (*self.inputs, *self.outputs) for name in port.type.symbols()}
        self._batch_names = names - set(self.size_ranges)

    def _at(self, sizes: Mapping[str, int]) -> _Loaded:
        """The program for these sizes.  Whoever runs one that is let go of meanwhile still holds it."""
        key = tuple(sizes[name] for name in self.size_ranges)
        with self._lock:
            if key not in self._programs:
                if self._closed:
                    raise UsageError("session: expected an open one, got a closed one")
                started = time.perf_counter()
                prepared = prepare(self._file, self._target, sizes)
                elapsed = (time.perf_counter() - started) * 1e3
                native = NativeProgram(prepared.program, prepared.constants, self.threads)
                bytes = sum(constant.nbytes for constant in prepared.constants)
                self._programs[key] = _Loaded(prepared.program, native, prepared.from_cache, bytes, elapsed)
                if len(self._programs) > MOST_PROGRAMS:
                    self._programs.popitem(last=False)
            self._programs.move_to_end(key)
            return self._programs[key]

    def _sizes(self, arrays: Sequence[object]) -> tuple[dict[str, int], int]:
        """The open sizes and the batch that all arrays share, one for each input, each being what its port takes."""
        if len(arrays) != len(self.inputs):
            raise ShapeError(f"run: expected {len(self.inputs)} arrays, got {len(arrays)}")
        found: dict[str, int] = {}
        for port, array in zip(self.inputs, arrays, strict=True):
            if not isinstance(array, np.ndarray):
                raise ShapeError(f"run input {port.name}: expected {port}, got {type(array).__name__}")
            fits = array.dtype == port.dtype.numpy and array.ndim == len(port.shape)
            if not fits or any(want not in (None, size) for want, size in zip(port.shape, array.shape, strict=True)):
                raise ShapeError(f"run input {port.name}: expected {port}, got {array.dtype}{list(array.shape)}")
            for dim, size in zip(port.type.shape, array.shape, strict=True):
                if isinstance(dim, Expr) and found.setdefault(str(dim), size) != size:
                    what = str(dim) if str(dim) in self.size_ranges else "batch"
                    raise ShapeError(
                        f"run input {port.name}: expected the other inputs' {what} of {found[str(dim)]}, got {size}"
                    )
        sizes = {name: found.pop(name) for name in self.size_ranges}
        asked_sizes(self.size_ranges, sizes)
        batch = next(iter(found.values()), None)
        low, high = self.batch_range
        if batch is not None and not low <= batch <= high:
            expected = f"{low}..{high}" if low < high else f"{low}"
            raise ShapeError(f"run: expected a batch of {expected}, got {batch}")
        return sizes, 1 if batch is None else batch


def asked_sizes(ranges: Mapping[str, tuple[int, int]], sizes: Mapping[str, int]) -> dict[str, int]:
    """A size for each of `ranges`: the one in `sizes`, else the smallest.  Raises ShapeError for one outside."""
    if unknown := sorted(set(sizes) - set(ranges)):
        raise ShapeError(f"sizes: expected some of {', '.join(ranges) or 'none'}, got {', '.join(unknown)}")
    for name, size in sizes.items():
        low, high = ranges[name]
        if not low <= size <= high:
            raise ShapeError(f"size {name}: expected {low}..{high}, got {size}")
    return {name: sizes.get(name, low) for name, (low, _) in ranges.items()}


def written(sizes: Mapping[str, int]) -> str:
    """`H=480,W=640`."""
    return ",".join(f"{name}={size}" for name, size in sizes.items())


def load(path: str | os.PathLike[str], threads: int | None = None, sizes: Mapping[str, int] | None = None) -> Session:
    """The model file at `path`, ready to run on `threads` threads (by default, as many as this process may use).

    `sizes` are those that are made ready first where the file leaves some open besides the batch (`{"H": 480}`); by
    default the smallest.  Raises ModelFormatError for a file that is damaged or is none, ShapeError for such sizes.
    """
    return Session(Path(path), threads, sizes)
