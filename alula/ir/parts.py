"""Values in groups that take no more than so many bytes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from math import prod

from alula.ir.graph import Value

PART_BYTES = 64 << 20


def in_parts(values: Iterable[Value], sizes: Mapping[str, int], part_bytes: int = PART_BYTES) -> Iterator[list[Value]]:
    """The values in their order, as many at a time as fit into `part_bytes`; at least one."""
    part: list[Value] = []
    used = 0
    for value in values:
        size = value.type.dtype.bytes * prod(value.type.at(sizes))
        if part and used + size > part_bytes:
            yield part
            part, used = [], 0
        part.append(value)
        used += size
    if part:
        yield part
