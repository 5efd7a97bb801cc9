"""ONNX models whose inputs decide sizes: a program for each set of their values, built when a run brings them."""

from __future__ import annotations

import tempfile
from collections import OrderedDict
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

import numpy as np

from alula.compiler import BuildConfig, build
from alula.core.errors import ShapeError, UnsupportedOperator
from alula.frontends.onnx import DimRange, from_onnx
from alula.frontends.onnx.source import read_source
from alula.runtime.session import Session

if TYPE_CHECKING:
    from alula.core.dtype import Array

MOST_PROGRAMS = 16  # that are kept; the one that was not used for longest goes first


class OnnxSession:
    """An ONNX file that runs with values that decide sizes: shapes to reshape to, regions to cut out, numbers of boxes.

    A program has fixed sizes (but for the batch).  What an input says about them is read when a run brings it, and the
    model is imported and built with those values as constants; equal values meet the program that there is.  Inputs
    that decide nothing never cause a second program.
    Raises what `from_onnx` and `build` raise, from `run` where it depends on the values.
    """

    def __init__(
        self,
        path: str | Path,
        config: BuildConfig | None = None,
        threads: int | None = None,
        dim_range: DimRange | None = None,
    ) -> None:
        self.path, self.config, self.threads, self.dim_range = Path(path), config or BuildConfig(), threads, dim_range
        self.names = [value.name for value in read_source(self.path).inputs]
        self.deciding: frozenset[str] = frozenset()  # the inputs that were found to decide sizes
        self._programs: OrderedDict[tuple[object, ...], Session] = OrderedDict()

    def run(self, *arrays: Array) -> tuple[Array, ...]:
        """The outputs for one array per input of the file, in its order."""
        if len(arrays) != len(self.names):
            raise ShapeError(f"run: expected {len(self.names)} arrays, got {len(arrays)}")
        given = dict(zip(self.names, map(np.asarray, arrays), strict=True))
        session = self._session(given)
        return session.run(*(array for name, array in given.items() if name not in self.deciding))

    def _session(self, given: dict[str, Array]) -> Session:
        while True:
            known = {name: given[name] for name in self.names if name in self.deciding}
            key = tuple((array.dtype.str, array.shape, array.tobytes()) for array in known.values())
            if key in self._programs:
                self._programs.move_to_end(key)
                return self._programs[key]
            try:
                session = self._built(known)
            except UnsupportedOperator as error:
                if error.inputs <= self.deciding:
                    raise
                self._forget(0)
                self.deciding |= error.inputs
                continue
            self._programs[key] = session
            self._forget(MOST_PROGRAMS)
            return session

    def _built(self, known: dict[str, Array]) -> Session:
        model = build(from_onnx(self.path, self.dim_range, known), self.config)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "program.alula"
            model.save(file)
            return Session(file, self.threads)

    def _forget(self, most: int) -> None:
        """Close the programs that are too many."""
        while len(self._programs) > most:
            self._programs.popitem(last=False)[1].close()

    def close(self) -> None:
        """End the threads of all programs and let go of their memory."""
        self._forget(0)

    def __enter__(self) -> OnnxSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
