"""Pictures decoded ahead of whoever computes on them: files -> batches, in order, on their own threads."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from alula.core.errors import ImageError
from alula.core.preprocess import Preprocess
from alula.vision.decode import decode
from alula.vision.folder import Picture
from alula.vision.preprocess import preprocessed

MOST_WORKERS = 8
BATCHES_AHEAD = 2


@dataclass(frozen=True, slots=True)
class Failure:
    """A listed picture that gave no input: its index in the list and why, in one line that names it."""

    index: int
    reason: str


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs[n, ...] of the pictures `indices`[n], and the failures met since the batch before."""

    indices: NDArray[np.int64]
    inputs: NDArray[Any]
    failures: tuple[Failure, ...]


def prepare(picture: Picture, contract: Preprocess) -> NDArray[np.uint8] | NDArray[np.float32]:
    """One picture's input, as `preprocessed` gives it.  Raises ImageError naming the picture."""
    pixels = decode(picture.path, picture.name)
    try:
        return preprocessed(pixels, contract)
    except ImageError as error:
        raise ImageError(f"picture {picture.name}: {error}") from None


def stream(
    pictures: Sequence[Picture], contract: Preprocess, batch_size: int, workers: int | None = None
) -> Iterator[Batch]:
    """Every picture of the list, in its order, in batches of `batch_size`; the last one holds what is left, unpadded.

    A picture that cannot be read takes no place in a batch.  Failures after the last full batch come with a batch
    that may be empty.  At most two batches of pictures wait decoded.  Leaving early drops what was not begun.
    """
    pool = ThreadPoolExecutor(workers or _usable_processors(), thread_name_prefix="alula-decode")
    try:
        yield from _batches(_in_order(pool, pictures, contract, BATCHES_AHEAD * batch_size), contract, batch_size)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _usable_processors() -> int:
    return min(MOST_WORKERS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


Ready = NDArray[Any] | Failure


def _in_order(
    pool: ThreadPoolExecutor, pictures: Sequence[Picture], contract: Preprocess, ahead: int
) -> Iterator[tuple[int, Ready]]:
    coming = iter(enumerate(pictures))
    waiting: deque[Future[tuple[int, Ready]]] = deque()
    while True:
        for index, picture in islice(coming, ahead - len(waiting)):
            waiting.append(pool.submit(_prepared_or_failed, index, picture, contract))
        if not waiting:
            return
        yield waiting.popleft().result()


def _prepared_or_failed(index: int, picture: Picture, contract: Preprocess) -> tuple[int, Ready]:
    try:
        return index, prepare(picture, contract)
    except ImageError as error:
        return index, Failure(index, str(error))


def _batches(ready: Iterator[tuple[int, Ready]], contract: Preprocess, batch_size: int) -> Iterator[Batch]:
    indices: list[int] = []
    inputs: list[NDArray[Any]] = []
    failures: list[Failure] = []
    for index, result in ready:
        if isinstance(result, Failure):
            failures.append(result)
            continue
        indices.append(index)
        inputs.append(result)
        if len(inputs) == batch_size:
            yield _batch(indices, inputs, failures, contract)
            indices, inputs, failures = [], [], []
    if inputs or failures:
        yield _batch(indices, inputs, failures, contract)


def _batch(indices: list[int], inputs: list[NDArray[Any]], failures: list[Failure], contract: Preprocess) -> Batch:
    stacked = np.stack(inputs) if inputs else empty_inputs(contract)
    return Batch(np.array(indices, np.int64), stacked, tuple(failures))


def empty_inputs(contract: Preprocess) -> NDArray[Any]:
    """Inputs of no pictures at all, in the shape and dtype of the contract."""
    side, channels = contract.crop, Preprocess.CHANNELS
    if contract.folded:
        return np.empty((0, side, side, channels), np.uint8)
    return np.empty((0, channels, side, side), np.float32)
