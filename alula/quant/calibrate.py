"""Calibration: a float program over a stream of inputs, and what its activations show."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np

from alula.core.dtype import Array, DType
from alula.core.errors import UsageError
from alula.ir.graph import Graph, Value
from alula.quant.balance import balanced, energy, products_of
from alula.quant.calibration import Activation, Calibration, graph_digest
from alula.quant.histogram import Floats
from alula.quant.observed import Observed
from alula.quant.products import depthwise, narrowable
from alula.quant.ranges import Range, channels, root, value_name
from alula.quant.rows import by_rows
from alula.quant.thresholds import ALGORITHMS, Spread

Run = Callable[[Sequence[Array]], Sequence[Array]]
Runner = Callable[[Graph], Run]  # a graph as something that gives its outputs for its inputs


def calibrate(
    graph: Graph, data: Iterable[Array | Sequence[Array]], runner: Runner, *, balancing: bool = True
) -> Calibration:
    """What the first operand of every product that can be one of bytes is like, over all of `data`, image by image.

    An item of data is an array for the graph's only input, or one for each input, with any batch.  Memory depends on
    the graph alone.  Raises UsageError for data that is empty, does not fit, is the same number everywhere, or makes
    values that are not finite.
    """
    products = (*narrowable(graph, DType.I8), *depthwise(graph, DType.U8))
    values = list(dict.fromkeys(root(node.inputs[0]) for node in products))
    names = [value_name(graph, value) for value in values]
    observed = [Observed(channels(value)) for value in values]
    run = runner(_watched(graph, values))
    ends = [(np.inf, -np.inf)] * len(graph.inputs)
    images = 0
    for part in _parts(graph, data):
        ends = [_wider(end, array) for end, array in zip(ends, part, strict=True)]
        for name, one, output in zip(names, observed, run(part), strict=True):
            if not one.take(output.astype(np.float32, copy=False)):  # pixels are bytes already: of them means count
                raise UsageError(f"calibration {name}: expected finite values, got others")
        images += 1
    if not images:
        raise UsageError("calibration: expected at least one image, got none")
    for value, (low, high) in zip(graph.inputs, ends, strict=True):
        if low == high:
            raise UsageError(f"calibration input {value.name}: expected values that differ, got {low:g} alone")
    found = {
        name: _activation(graph, value, one, balanced(graph, value, one) if balancing else None)
        for name, value, one in zip(names, values, observed, strict=True)
    }
    return Calibration(graph_digest(graph), images, found).as_saved()


def _watched(graph: Graph, values: Sequence[Value]) -> Graph:
    watched, copies = graph.copied()
    watched.outputs = [(f"value{n}", copies[value]) for n, value in enumerate(values)]
    return watched


def _activation(graph: Graph, value: Value, observed: Observed, factors: Floats | None) -> Activation:
    """Ranges of the whole tensor, divided by factors, and the channels as they are."""
    s = np.ones(observed.channels) if factors is None else factors
    ends = _envelope(observed.low / s, observed.high / s)
    moving = _envelope(observed.moving_low / s, observed.moving_high / s)
    numbers, amounts = observed.histogram.spread(np.ones_like(s), 1 / s)
    _, weighed = observed.histogram.spread(_weights(graph, value, s), 1 / s)
    spread = Spread.of(numbers, amounts, weighed, ends, moving)
    ranges = {name: algorithm(spread) for name, algorithm in ALGORITHMS.items()}
    rows = by_rows(graph, value, observed, ends)
    moments = observed.sketch.moments(observed.squares, s)
    return Activation(ranges, observed.low, observed.high, observed.mean, factors, rows, moments)


def _weights(graph: Graph, value: Value, s: Floats) -> Floats:
    """How much what a channel divided by s is off by counts in the products that take it; 1 where others do as well."""
    products = products_of(graph, value)
    return sum((energy(product) for product in products), np.zeros_like(s)) * s**2 if products else np.ones_like(s)


def _envelope(low: Array, high: Array) -> Range:
    return Range(min(0.0, float(low.min(initial=0))), max(0.0, float(high.max(initial=0))))


def _wider(ends: tuple[float, float], array: Array) -> tuple[float, float]:
    if not array.size:
        return ends
    return min(ends[0], float(array.min())), max(ends[1], float(array.max()))


def _parts(graph: Graph, data: Iterable[Array | Sequence[Array]]) -> Iterator[list[Array]]:
    """One image at a time, where the batch is a size of the graph: what is observed needs no more memory then."""
    for item in data:
        arrays = [item] if isinstance(item, np.ndarray) else list(item)
        _check(graph, arrays)
        if not graph.symbols:
            yield arrays
            continue
        for image in range(len(arrays[0])):
            yield [np.ascontiguousarray(array[image : image + 1]) for array in arrays]


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
