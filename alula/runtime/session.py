"""A model file ready to run: the public `Session`, and `load`, which opens one."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from alula.artifact.model import ModelFile
from alula.artifact.reader import read_model
from alula.codegen.program import StepInfo
from alula.core.dims import Expr
from alula.core.dtype import Array, DType
from alula.core.errors import ShapeError, UsageError
from alula.core.preprocess import Preprocess
from alula.ir.parser import parse_type
from alula.ir.types import TensorType
from alula.runtime.host import default_threads
from alula.runtime.native import NativeProgram
from alula.runtime.programs import prepare, target_here


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output of a model; None in its shape is the batch."""

    name: str
    dtype: DType
    shape: tuple[int | None, ...]

    @classmethod
    def of(cls, name: str, type: TensorType) -> Port:
        """The port for a value of the graph."""
        return cls(name, type.dtype, tuple(None if isinstance(dim, Expr) else dim for dim in type.shape))

    def __str__(self) -> str:
        sizes = ",".join("N" if size is None else str(size) for size in self.shape)
        return f"{self.name} {self.dtype}[{sizes}]"


class Session:
    """A loaded model.  `run` may be called from any thread; calls take turns."""

    def __init__(self, path: Path, threads: int | None = None) -> None:
        started = time.perf_counter()
        if threads is not None and threads < 1:
            raise UsageError(f"threads: expected at least 1, got {threads}")
        self.threads, self.threads_why = default_threads() if threads is None else (threads, "as asked")
        with read_model(path) as file:
            self._describe(file)
            read = time.perf_counter()
            prepared = prepare(file, self._target)
        ready = time.perf_counter()
        program, self.from_cache = prepared.program, prepared.from_cache
        self.inputs = tuple(Port.of(name, parse_type(text)) for name, text in program.inputs)
        self.outputs = tuple(Port.of(name, parse_type(text)) for name, text in program.outputs)
        self.steps: tuple[StepInfo, ...] = program.steps
        self._images_at_once = program.images_at_once
        self.macs = sum(step.macs for step in program.steps)
        self.arena_bytes, self.scratch_bytes = program.arena_bytes, program.scratch_bytes
        self.constant_bytes = sum(constant.nbytes for constant in prepared.constants)
        self._native = NativeProgram(program, prepared.constants, self.threads)
        self.read_ms, self.prepare_ms = (read - started) * 1e3, (ready - read) * 1e3  # the rest: linking, threads
        self.load_ms = (time.perf_counter() - started) * 1e3

    def run(self, *arrays: Array) -> tuple[Array, ...]:
        """The outputs for one array per input, in order; all share one batch.  Raises ShapeError for another type.

        Arrays are taken as they are where they are contiguous and aligned, copied first where they are not.
        """
        return self._run(arrays, None)

    def profile(self, *arrays: Array) -> NDArray[np.float64]:
        """Seconds that each of `steps` took in one run; they add up to the whole run."""
        batch = self._batch(arrays)
        pieces = -(-batch // max(1, self._images_at_once(batch)))
        stamps = np.full((pieces, len(self.steps) + 1), np.iinfo(np.int64).max)
        started = time.perf_counter()
        self._run(arrays, stamps)
        elapsed = time.perf_counter() - started
        ticks = np.diff(stamps).sum(axis=0)
        seconds: NDArray[np.float64] = ticks * (elapsed / max(1, int(ticks.sum())))
        return seconds

    def _run(self, arrays: tuple[Array, ...], stamps: Array | None) -> tuple[Array, ...]:
        batch = self._batch(arrays)
        inputs = [np.require(array, requirements=("C", "A")) for array in arrays]
        outputs = tuple(np.empty([batch if n is None else n for n in p.shape], p.dtype.numpy) for p in self.outputs)
        self._native.run(inputs, outputs, batch, stamps)
        return outputs

    def workspace_bytes(self, batch: int) -> int:
        """Memory of a run of `batch` images, besides the weights, its inputs and its outputs."""
        return self._native.workspace_bytes(batch)

    def close(self) -> None:
        """End the session's threads and let go of its memory."""
        self._native.close()

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

    def _batch(self, arrays: Sequence[object]) -> int:
        """The batch that all arrays share, one for each input, each being what its port takes."""
        if len(arrays) != len(self.inputs):
            raise ShapeError(f"run: expected {len(self.inputs)} arrays, got {len(arrays)}")
        batch = None
        for port, array in zip(self.inputs, arrays, strict=True):
            if not isinstance(array, np.ndarray):
                raise ShapeError(f"run input {port.name}: expected {port}, got {type(array).__name__}")
            fits = array.dtype == port.dtype.numpy and array.ndim == len(port.shape)
            if not fits or any(want not in (None, size) for want, size in zip(port.shape, array.shape, strict=True)):
                raise ShapeError(f"run input {port.name}: expected {port}, got {array.dtype}{list(array.shape)}")
            for want, size in zip(port.shape, array.shape, strict=True):
                if want is None and batch not in (None, size):
                    raise ShapeError(f"run input {port.name}: expected the other inputs' batch of {batch}, got {size}")
                batch = size if want is None else batch
        low, high = self.batch_range
        if batch is not None and not low <= batch <= high:
            expected = f"{low}..{high}" if low < high else f"{low}"
            raise ShapeError(f"run: expected a batch of {expected}, got {batch}")
        return 1 if batch is None else batch


def load(path: str | os.PathLike[str], threads: int | None = None) -> Session:
    """The model file at `path`, ready to run on `threads` threads (by default, as many as this process may use).

    Raises ModelFormatError for a file that is damaged or is none.
    """
    return Session(Path(path), threads)
