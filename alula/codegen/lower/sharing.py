"""How the rows of a kernel are shared out: so many a chunk that a chunk is worth claiming."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llvmlite import ir

from alula.codegen.lowering import Chunk
from alula.codegen.vector import Emitter, Int, Ptr
from alula.core.dims import Dim, known_multiple

CHUNK_WORK = 16384  # elements read, of a few operations each: some microseconds


def rows_a_chunk(work: Dim, group: int = 1) -> int:
    """Rows of `work` elements each that make a chunk, in whole groups; one group where their size is not fixed."""
    fitting = CHUNK_WORK // max(work, 1) if isinstance(work, int) else 1
    return max(1, -(-fitting // group)) * group


def chunks(e: Emitter, rows: Dim, block: int) -> Int:
    """Blocks of rows, the last one perhaps shorter."""
    return (e.dim(rows) + (block - 1)) // block


def ends_of(chunk: Chunk, rows: Dim, block: int) -> tuple[Int, Int]:
    """The row after the chunk's last one, and its first."""
    first = chunk.number * block
    return (first + block).min(chunk.e.dim(rows)), first


@contextmanager
def rows_of(chunk: Chunk, rows: Dim, block: int) -> Iterator[Int]:
    """The block runs for each row of the chunk; gives its number."""
    stop, first = ends_of(chunk, rows, block)
    with chunk.e.loop(stop, start=first) as loop:
        yield loop.index


def fill_zeros(e: Emitter, target: Ptr, count: Dim) -> None:
    """target[count] = 0."""
    each_vector(e, count, lambda column, mask: e.store(e.constant(0, target.dtype), target, column, mask))


def each_vector(e: Emitter, length: Dim, body: Callable[[Int, ir.Value | None], None]) -> None:
    """`body(column, mask)` for every vector of `length` columns, a masked one last."""
    size = e.dim(length)
    whole = size // e.lanes * e.lanes
    with e.loop(whole, step=e.lanes) as loop:
        body(loop.index, None)
    if known_multiple(length, e.lanes):
        return
    with e.when(whole < size):
        body(whole, e.mask(size - whole))
