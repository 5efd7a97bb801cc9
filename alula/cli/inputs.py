"""What a model is run on when it is measured: seeded random arrays, or tensors from files; and its outputs as files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from alula.cli.outputs import write_together
from alula.core.dtype import Array, DType, to_bfloat16
from alula.core.errors import UsageError

if TYPE_CHECKING:
    from alula.runtime.session import Port, Session

SEED = 0
CHUNK = 1 << 16
DRAWN_MEAN, DRAWN_STD = 127.5, 73.9  # of the whole numbers 0 to 255


def random_inputs(session: Session, batch_size: int) -> list[Array]:
    """An array for each input, the same ones every time."""
    random = Random(SEED)
    return [_random_input(random, port.dtype, shape_of(port, batch_size, session.sizes)) for port in session.inputs]


def read_inputs(session: Session, batch_size: int, paths: Sequence[Path]) -> list[Array]:
    """An array for each input from a file each: its elements in order, nothing else, in this machine's byte order.

    Raises UsageError for another number of files or of bytes, OSError for a file that cannot be read.
    """
    if len(paths) != len(session.inputs):
        raise UsageError(f"input files: expected {len(session.inputs)}, one for each input, got {len(paths)}")
    return [
        _read_input(port, batch_size, session.sizes, path) for port, path in zip(session.inputs, paths, strict=True)
    ]


def write_outputs(folder: Path, outputs: Sequence[Array]) -> None:
    """Writes `output0`, `output1` ... into `folder`, all or none: the elements in order, nothing else."""
    write_together(folder, {f"output{number}": output.tobytes() for number, output in enumerate(outputs)})


def shape_of(port: Port, batch_size: int, sizes: Mapping[str, int]) -> tuple[int, ...]:
    """The port's shape for so many images, and these sizes of what else is open."""
    named = zip(port.shape, port.type.shape, strict=True)
    return tuple(sizes.get(str(dim), batch_size) if size is None else size for size, dim in named)


def _read_input(port: Port, batch_size: int, sizes: Mapping[str, int], path: Path) -> Array:
    content, shape = path.read_bytes(), shape_of(port, batch_size, sizes)
    expected = port.dtype.bytes * int(np.prod(shape, dtype=np.int64))
    if len(content) != expected:
        raise UsageError(
            f"input file {path}: expected {expected} bytes for {port} with a batch of {batch_size}, got {len(content)}"
        )
    return np.frombuffer(content, port.dtype.numpy).reshape(shape)


def _random_input(random: Random, dtype: DType, shape: tuple[int, ...]) -> Array:
    """Bytes 0 to 255 for u8, 0 or 1 for other integers, floats of mean 0 and standard deviation 1."""
    values = np.empty(shape, dtype.numpy)
    flat = values.reshape(-1)
    for start in range(0, flat.size, CHUNK):  # numpy.random alone, or one large draw, would count as the model's memory
        chunk = flat[start : start + CHUNK]
        chunk[:] = _converted(np.frombuffer(random.randbytes(chunk.size), np.uint8), dtype)
    return values


def _converted(drawn: NDArray[np.uint8], dtype: DType) -> Array:
    if dtype is DType.U8:
        return drawn
    if not dtype.is_float:
        return drawn & 1
    floats = (drawn.astype(np.float32) - DRAWN_MEAN) / DRAWN_STD
    return to_bfloat16(floats) if dtype is DType.BF16 else floats
