"""A session's memory, and how its functions say what failed.

A session is one piece of memory.  It begins with what `alula_run` takes as its program, so that its address serves as
that; then what it has to give back, its lock, and the table of constants, which are addresses in the mapped model file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from llvmlite import ir

from alula.codegen.library.description import NULL, Data
from alula.codegen.module import I32, I64, POINTER
from alula.codegen.program import STAMPS
from alula.codegen.vector import Emitter, Int

ERROR_BYTES = 512  # ALULA_ERROR_BYTES of the header

# The session's fields, in words of 8 bytes, after those of the program structure.
MAPPING, ARENA_BYTES, THREADS, LOCK = range(STAMPS + 1, STAMPS + 5)
TABLE = LOCK + 8  # a pthread_mutex_t takes 40 bytes on x86-64, in glibc and musl


class Fields:
    """A session's words."""

    def __init__(self, e: Emitter, session: ir.Value) -> None:
        self.e, self.session = e, session

    def at(self, index: int) -> ir.Value:
        """Where a word is."""
        return self.e.b.gep(self.session, [ir.Constant(I64, index)], source_etype=I64)

    def pointer(self, index: int) -> ir.Value:
        return self.e.b.load(self.at(index), typ=POINTER)

    def integer(self, index: int) -> Int:
        return Int(self.e, self.e.b.load(self.at(index), typ=I64))

    def set(self, index: int, value: ir.Value) -> None:
        self.e.b.store(value, self.at(index))


class Failing:
    """Reports what failed to the caller's text, and returns."""

    def __init__(self, e: Emitter, data: Data, error: ir.Value) -> None:
        self.e, self.data, self.error = e, data, error

    @contextmanager
    def when(self, failed: ir.Value, result: ir.Value, text: str, *values: ir.Value) -> Iterator[None]:
        """Where `failed`: writes `text` (printf's) with `values`, runs the block, and returns `result`."""
        b = self.e.b
        with b.if_then(failed, likely=False):
            with b.if_then(b.icmp_unsigned("!=", self.error, NULL)):
                write = self.e.code.declare("snprintf", I32, [POINTER, I64, POINTER], variadic=True)
                b.call(write, [self.error, ir.Constant(I64, ERROR_BYTES), self.data.text(text), *values])
            yield
            b.ret(result)


def differ(e: Emitter, left: ir.Value, right: ir.Value, size: int) -> ir.Value:
    """Whether `size` bytes at two addresses are not the same."""
    compare = e.code.declare("memcmp", I32, [POINTER, POINTER, I64])
    return e.b.icmp_signed("!=", e.b.call(compare, [left, right, ir.Constant(I64, size)]), ir.Constant(I32, 0))


def is_null(e: Emitter, pointer: ir.Value) -> ir.Value:
    """Whether an address is null."""
    return e.b.icmp_unsigned("==", pointer, NULL)
