"""What values a model's activations take: the least and the greatest, over a stream of calibration inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from alula.core.dtype import Array
from alula.core.errors import UsageError
from alula.ir.graph import Graph, Node, Value
from alula.ops.quantize import LARGEST_BYTE, Quantize
from alula.ops.shape import Reshape, Slice, Transpose

Run = Callable[[Sequence[Array]], Sequence[Array]]
Runner = Callable[[Graph], Run]  # a graph as something that gives its outputs for its inputs
VIEWS = (Reshape, Transpose, Slice)


@dataclass(slots=True)
class Range:
    """The least and the greatest value seen; 0 always lies within."""

    low: float = 0.0
    high: float = 0.0

    def take(self, values: Array) -> None:
        """Widens the range to hold the values."""
        if values.size:
            self.low = min(self.low, float(values.min()))
            self.high = max(self.high, float(values.max()))

    def quantize(self) -> Quantize:
        """Bytes that reach from end to end of the range, 0 being one of them exactly."""
        scale = max((self.high - self.low) / LARGEST_BYTE, 2.0**-100)
        return Quantize(float(np.float32(scale)), min(LARGEST_BYTE, round(-self.low / scale)))


def root(value: Value) -> Value:
    """The value that views of it were taken from: all of them are quantised alike."""
    while value.producer is not None and isinstance(value.producer.op, VIEWS):
        value = value.producer.inputs[0]
    return value


def observe(
    graph: Graph, products: Iterable[Node], data: Iterable[Array | Sequence[Array]], runner: Runner
) -> dict[Value, Range]:
    """The range of every first operand of `products`, over all of `data`, image by image.

    An item of data is an array for the graph's only input, or one for each input, with any batch.  Raises UsageError
    for data that is empty, does not fit or makes values that are not finite.
    """
    values = list(dict.fromkeys(root(node.inputs[0]) for node in products))
    watched, copies = graph.copied()
    watched.outputs = [(f"value{n}", copies[value]) for n, value in enumerate(values)]
    ranges, origins = [Range() for _ in values], [_origin(value) for value in values]
    run = runner(watched)
    images = 0
    for item in data:
        arrays = [item] if isinstance(item, np.ndarray) else list(item)
        _check(graph, arrays)
        for part in _images(graph, arrays):
            outputs = run(part)
            for number, output in enumerate(outputs):
                ranges[number].take(output)
                if not np.isfinite([ranges[number].low, ranges[number].high]).all() or np.isnan(output).any():
                    raise UsageError(f"calibration {origins[number]}: expected finite values, got others")
            images += 1
    if not images:
        raise UsageError("calibration: expected at least one image, got none")
    return dict(zip(values, ranges, strict=True))


def _images(graph: Graph, arrays: Sequence[Array]) -> Iterator[list[Array]]:
    """One image at a time, where the batch is a size of the graph: what is observed needs no more memory then."""
    if not graph.symbols:
        yield list(arrays)
        return
    for image in range(len(arrays[0])):
        yield [np.ascontiguousarray(array[image : image + 1]) for array in arrays]


def _origin(value: Value) -> str:
    node = value.producer
    return f"input {value.name}" if node is None else f"{node.op.name} {node.origin}".rstrip()


def _check(graph: Graph, arrays: Sequence[Array]) -> None:
    types = [value.type for value in graph.inputs]
    fits = len(arrays) == len(types) and all(
        array.dtype == type.dtype.numpy
        and array.ndim == type.rank
        and all(not isinstance(want, int) or want == got for want, got in zip(type.shape, array.shape, strict=True))
        for array, type in zip(arrays, types, strict=True)
    )
    if not fits or len({len(array) for array in arrays}) != 1:
        got = ", ".join(f"{array.dtype}{list(array.shape)}" for array in arrays)
        raise UsageError(f"calibration: expected {', '.join(map(str, types))}, got {got}")
