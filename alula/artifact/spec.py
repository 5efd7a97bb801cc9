"""The layout of a `.alula` file, version 1; docs/model-file.md says the same in prose.

    offset  bytes
         0      8   magic 89 41 4C 55 4C 41 0D 0A: no text file, and spoilt by whatever converts line ends
         8      8   version, unsigned little-endian as all numbers here
        16      8   bytes of the JSON of the header, without its padding
        24      8   bytes of the whole file
        32     32   SHA-256 of the header, padding included
        64          header: canonical JSON in ASCII, then zeros up to a multiple of 64
                    sections: the elements of the constants, each padded with zeros to a multiple of 64

Nothing follows the last section.  There is exactly one file for one content: the JSON has one spelling, the padding is
zero, sections stand in the order of the graph's constants without gaps, and nothing tells when or where it was made.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from struct import Struct
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

MAGIC = b"\x89ALULA\r\n"
VERSION = 1
PROLOGUE = Struct("<8sQQQ32s")  # magic, version, bytes of the JSON, bytes of the file, digest of the header
ALIGNMENT = 64  # of header and sections: one cache line, and the widest vector register
LARGEST_HEADER = 16 << 20  # VOLO-D5's takes under 1 MiB; JSON takes a multiple of its bytes in memory
LARGEST_GRAPH = 2 << 20  # characters, of a graph of some 12,000 nodes; parsing takes up to two seconds a MiB
WORTH_THREADS = 1 << 20


def padded(size: int) -> int:
    """`size` bytes up to the next multiple of the alignment."""
    return -(-size // ALIGNMENT) * ALIGNMENT


def padding(size: int) -> bytes:
    """The zeros that follow `size` bytes."""
    return bytes(padded(size) - size)


def section_digest(elements: bytes | memoryview) -> str:
    """SHA-256, in hexadecimal, of `elements` and the zeros that follow them."""
    state = hashlib.sha256(elements)
    state.update(padding(len(elements)))
    return state.hexdigest()


def for_each(task: Callable[[T], R], items: Sequence[T], total: int) -> list[R]:
    """The task's results; on two threads where the items' `total` bytes pay for them (hashing lets go of the GIL)."""
    if total < WORTH_THREADS:
        return [task(item) for item in items]
    with ThreadPoolExecutor(2) as pool:
        return list(pool.map(task, items))
