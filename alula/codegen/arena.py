"""Where each intermediate lies in the arena: buffers that do not live at the same time share bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A buffer of `bytes` bytes, in use from step `first` to step `last`, both included."""

    bytes: int
    first: int
    last: int


def plan_arena(lifetimes: Sequence[Lifetime]) -> tuple[list[int], int]:
    """(offset of each buffer, bytes of the arena): largest first, each into the lowest gap that fits it.

    Greedy by size: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", arXiv 2001.03288.
    """
    offsets = [0] * len(lifetimes)
    placed: list[int] = []
    for index in sorted(range(len(lifetimes)), key=lambda n: (-lifetimes[n].bytes, n)):
        life, offset = lifetimes[index], 0
        size = -(-life.bytes // ALIGNMENT) * ALIGNMENT
        overlapping = (n for n in placed if lifetimes[n].first <= life.last and life.first <= lifetimes[n].last)
        for other in sorted(overlapping, key=lambda n: offsets[n]):
            if offset + size <= offsets[other]:
                break
            offset = max(offset, offsets[other] + -(-lifetimes[other].bytes // ALIGNMENT) * ALIGNMENT)
        offsets[index] = offset
        placed.append(index)
    ends = [offset + -(-life.bytes // ALIGNMENT) * ALIGNMENT for offset, life in zip(offsets, lifetimes, strict=True)]
    return offsets, max(ends, default=0)
