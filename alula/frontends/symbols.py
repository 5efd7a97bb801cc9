"""What importers call the sizes of inputs that stay open."""

from __future__ import annotations

BATCH = "N"
LARGEST_BATCH = 512
PICTURE_AXES = {2: "H", 3: "W"}  # of an input [batch, channels, height, width]


def axis_name(axis: int, rank: int) -> str:
    """The name of an open axis of an input."""
    if axis == 0:
        return BATCH
    return PICTURE_AXES.get(axis, f"D{axis}") if rank == len(PICTURE_AXES) + 2 else f"D{axis}"
