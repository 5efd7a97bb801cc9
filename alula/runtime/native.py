"""Machine code in this process: an object file linked, its thread pool, and calls of `alula_run`."""

from __future__ import annotations

import ctypes
import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from functools import cache

import llvmlite.binding as llvm
import numpy as np

from alula.codegen.pieces import Pieces, pieces_of
from alula.codegen.program import Program
from alula.core.dtype import Array
from alula.core.errors import UsageError

ALIGNMENT = 64
EXPORTS = ("alula_run", "alula_pool_create", "alula_pool_destroy")

_linker_lock = threading.Lock()
_library_numbers = itertools.count()


def linked(object: bytes, names: Sequence[str]) -> llvm.ResourceTracker:
    """The addresses of an object's functions, valid while the tracker lives."""
    with _linker_lock:
        library = llvm.JITLibraryBuilder().add_object_img(object).add_current_process()
        for name in names:
            library.export_symbol(name)
        return library.link(_linker(), f"alula_{next(_library_numbers)}")


@cache
def _linker() -> llvm.LLJIT:
    """The one linker of this process."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    return llvm.create_lljit_compiler(use_jit_link=True)


class NativeProgram:
    """A linked program with its threads and its memory.  One run at a time; other threads wait for their turn."""

    def __init__(self, program: Program, constants: Sequence[Array], threads: int) -> None:
        self._library = linked(program.object, EXPORTS)
        self._constants = [constants[number] for number in program.constants]
        self._table = _pointers(self._constants)
        self._program, self._threads = program, threads
        self._scratch = aligned(program.scratch_bytes * threads)
        self._arena = aligned(0)
        self._lock = threading.Lock()
        pointer, size = ctypes.c_void_p, ctypes.c_int64
        create = ctypes.CFUNCTYPE(pointer, size)(self._library["alula_pool_create"])
        destroy = ctypes.CFUNCTYPE(None, pointer)(self._library["alula_pool_destroy"])
        self._run = ctypes.CFUNCTYPE(None, pointer, pointer, pointer, size, size)(self._library["alula_run"])
        self._pool = create(threads)
        if not self._pool:
            raise MemoryError("thread pool: expected memory and the target's registers from the system, got neither")
        self._end = weakref.finalize(self, _destroy, destroy, self._pool, self._library)  # at exit at the latest

    def run(self, inputs: Sequence[Array], outputs: Sequence[Array], batch: int, stamps: Array | None = None) -> None:
        """Fill `outputs` from `inputs`: contiguous arrays of the program's types.  The GIL is released meanwhile.

        `stamps` (i64, for each of the batch's `pieces` one more than there are steps, the largest number in all of
        them) takes the processor's clock before, between and after the steps.
        """
        with self._lock:
            if not self._end.alive:
                raise UsageError("session: expected an open one, got a closed one")
            needed = self._arena_bytes(batch)
            if self._arena.nbytes < needed:
                self._arena = aligned(needed)
            memory = (
                ctypes.addressof(self._table),
                self._arena.ctypes.data,
                self._scratch.ctypes.data,
                self._pool,
                None if stamps is None else stamps.ctypes.data,
            )
            program = (ctypes.c_void_p * len(memory))(*memory)
            given, taken = _pointers(inputs), _pointers(outputs)
            self._run(program, given, taken, batch, self._threads)

    def pieces(self, batch: int) -> Pieces:
        """How a batch runs on the threads there are."""
        return pieces_of(batch, self._threads, self._program.piece)

    def workspace_bytes(self, batch: int) -> int:
        """What a run of `batch` images needs besides the weights, its inputs and its outputs."""
        return self._arena_bytes(batch) + self._scratch.nbytes

    def _arena_bytes(self, batch: int) -> int:
        return self._program.arena_bytes * self.pieces(batch).held + self._program.spare_bytes

    def close(self) -> None:
        """End the threads and let go of the memory; running afterwards is an error."""
        with self._lock:
            self._end()
            self._arena = aligned(0)


def aligned(size: int) -> Array:
    """`size` bytes of untouched memory on a cache-line boundary."""
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]


def _pointers(arrays: Sequence[Array]) -> ctypes.Array[ctypes.c_void_p]:
    return (ctypes.c_void_p * max(1, len(arrays)))(*(array.ctypes.data for array in arrays))


def _destroy(destroy: Callable[[int], None], pool: int, library: llvm.ResourceTracker) -> None:
    """Ends a pool's threads while their code, the library, is still in memory."""
    destroy(pool)
