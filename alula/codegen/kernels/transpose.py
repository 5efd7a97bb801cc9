"""Blocks of a matrix turned in registers: one contiguous load and one contiguous store for each row and column."""

from __future__ import annotations

from collections.abc import Sequence

from alula.codegen.vector import Emitter, Int, Ptr, Vec


def emit_transpose(
    e: Emitter,
    source: Ptr,
    source_step: Int,
    target: Ptr,
    target_step: Int,
    rows: int,
    columns: int,
    *,
    padded: bool = False,
) -> None:
    """target[r,c] = source[c,r] for r < rows, c < columns, both at most the lanes; elements of 32 bits.

    Rows of source are `source_step` elements apart, those of target `target_step`.  With `padded` the rest of target's
    vectors becomes 0; else it is not written.
    """
    inside, within = (None if size == e.lanes else e.mask(size) for size in (rows, columns))
    zero = e.constant(0, source.dtype)
    loaded = [e.load(source.at(source_step * c), 0, inside) if c < columns else zero for c in range(e.lanes)]
    for r, vector in enumerate(turned(e, loaded)[:rows]):
        e.store(vector, target.at(target_step * r), 0, None if padded else within)


def turned(e: Emitter, vectors: Sequence[Vec]) -> list[Vec]:
    """The transpose of a square block: off-diagonal quarters change places, then those within each quarter."""
    block = list(vectors)
    half = e.lanes // 2
    while half:
        for i in (n for n in range(e.lanes) if not n & half):
            block[i], block[i + half] = _swapped(e, block[i], block[i + half], half)
        half //= 2
    return block


def _swapped(e: Emitter, upper: Vec, lower: Vec, half: int) -> tuple[Vec, Vec]:
    first = [lane if not lane & half else e.lanes + lane - half for lane in range(e.lanes)]
    second = [lane + half if not lane & half else e.lanes + lane for lane in range(e.lanes)]
    return e.shuffle(upper, lower, first), e.shuffle(upper, lower, second)
