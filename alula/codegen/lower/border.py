"""What a picture of bytes goes on with beyond its border: pixels whose channels have levels of their own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import lcm

from llvmlite import ir

from alula.codegen.lower.sharing import fill_zeros
from alula.codegen.vector import Emitter, Int, Ptr


def emit_border(e: Emitter, levels: Sequence[int], target: Ptr, pixels: int) -> None:
    """target[pixels, channels]: each channel's level."""
    whole = len(levels)
    if not any(levels):
        fill_zeros(e, target, pixels * whole)
        return
    patterns = [
        e.numbers([levels[(n * e.lanes + lane) % whole] for lane in range(e.lanes)], target.dtype)
        for n in range(lcm(whole, e.lanes) // e.lanes)
    ]
    repeat_patterns(e, len(patterns), pixels * whole, lambda spot, n, mask: e.store(patterns[n], target, spot, mask))


def repeat_patterns(e: Emitter, patterns: int, count: int, vector: Callable[[Int, int, ir.Value | None], None]) -> None:
    """`vector(spot, n, mask)` for every vector of `count` elements; n goes round the patterns."""
    period = patterns * e.lanes
    with e.loop(count // period) as loop:
        for n in range(patterns):
            vector(loop.index * period + n * e.lanes, n, None)
    rest = count // period * period
    for n in range(-(-(count - rest) // e.lanes)):
        left = count - rest - n * e.lanes
        vector(e.int(rest + n * e.lanes), n, e.mask(left) if left < e.lanes else None)
