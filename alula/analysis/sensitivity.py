"""What each product in low precision does to the model's outputs, alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alula.analysis.anchors import Pair, matched
from alula.analysis.error import widened
from alula.analysis.verify import lowered
from alula.compiler import compiled_run
from alula.core.dtype import Array, DType
from alula.ir.graph import Graph, Value
from alula.ops.elementwise import Add
from alula.vision.paired import decibels


@dataclass(slots=True)
class Sensitivity:
    """Sums of squares over all inputs of a product: what it gives, its own error on exact operands (and the worst
    channel's share of it), and what that error alone does to the outputs."""

    label: str
    signal: float = 0.0
    noise: float = 0.0
    worst_channel: float = 0.0
    product: float = 0.0
    size: float = 0.0
    output_noise: float = 0.0

    @property
    def snr_db(self) -> float:
        """Signal to noise of the product."""
        return decibels(self.signal, self.noise)

    @property
    def cosine(self) -> float:
        """Between what it gives and what it should give."""
        return float(self.product / np.sqrt(self.signal * self.size)) if self.signal and self.size else 1.0

    @property
    def relative(self) -> float:
        """The error's root mean square over the signal's."""
        return float(np.sqrt(self.noise / self.signal)) if self.signal else 0.0

    @property
    def channel(self) -> float:
        """The same of the worst channel, over all channels' signal."""
        return float(np.sqrt(self.worst_channel / self.signal)) if self.signal else 0.0


Injected = Callable[[Sequence[Array], Mapping[int, Array]], list[Array]]


def sensitivities(file: Graph, graph: Graph, data: Iterable[Sequence[Array]]) -> list[Sensitivity]:
    """Of every product that both graphs have, in order, over all inputs of `data`.

    A product's error is that of `file` on the operands of `graph`, the float one; it is added to the product's result
    in the compiled float program, and what the outputs then differ by is that error's doing alone.
    """
    pairs = matched(file, graph)
    found = {pair.ours: Sensitivity(pair.label) for pair in pairs}
    run = injected(graph, pairs)
    numbers = {pair.ours: number for number, pair in enumerate(pairs)}
    for inputs in data:
        undisturbed = run(inputs, {})
        for beside in lowered(file, graph, inputs):
            if beside.value not in found:
                continue
            got, expected = widened(beside.got), widened(beside.expected)
            difference = got - expected
            one = found[beside.value]
            _add(one, got, expected, difference)
            disturbed = run(inputs, {numbers[beside.value]: difference.astype(np.float32)})
            one.output_noise += sum(map(_distance, disturbed, undisturbed))
    return list(found.values())


def _add(one: Sensitivity, got: Array, expected: Array, difference: Array) -> None:
    squares = np.square(difference)
    columns = squares.reshape(-1, squares.shape[-1]).sum(axis=0)
    one.signal += float(np.square(expected).sum())
    one.size += float(np.square(got).sum())
    one.product += float((got * expected).sum())
    one.noise += float(columns.sum())
    one.worst_channel += float(columns.max()) * len(columns)


def _distance(a: Array, b: Array) -> float:
    return float(np.square(a.astype(np.float64) - b).sum())


def injected(graph: Graph, pairs: Sequence[Pair]) -> Injected:
    """The float graph, compiled, as a function of its inputs and of what is added to results of products, by number."""
    disturbed, copies = graph.copied()
    disturbed.outputs = [(name, value) for name, value in disturbed.outputs if value.type.dtype is DType.F32]
    types = [pair.theirs.type for pair in pairs]
    for number, pair in enumerate(pairs):
        _disturb(disturbed, copies[pair.theirs], f"error{number}")
    compiled = compiled_run(disturbed)

    def run(inputs: Sequence[Array], errors: Mapping[int, Array]) -> list[Array]:
        sizes = dict.fromkeys(graph.symbols, len(inputs[0]))
        zeros = [errors.get(number, np.zeros(type.at(sizes), np.float32)) for number, type in enumerate(types)]
        return list(compiled([*inputs, *zeros]))

    return run


def _disturb(graph: Graph, value: Value, name: str) -> None:
    """Every use of `value` becomes one of value + a new input."""
    error = graph.input(name, value.type)
    place = graph.nodes.index(value.producer) + 1 if value.producer else 0
    if place < len(graph.nodes):
        with graph.before(graph.nodes[place]):
            stand_in = graph.add(Add(), error, error)
    else:
        stand_in = graph.add(Add(), error, error)
    graph.replace(value, stand_in)  # all uses, before the sum that is to keep it
    assert stand_in.producer is not None
    with graph.before(stand_in.producer):
        total = graph.add(Add(), value, error)
    graph.replace(stand_in, total)
    graph.remove(stand_in.producer)
