"""Products of bytes: activations as u8, weights as i8 with a scale for each feature, sums exact in i32.

x is about (q - zero) * s, w about v * t[n]; the sum of x * w is then s * t[n] * (sum of q * v - zero * sum of v): the
last term, known beforehand, joins the bias.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np

from alula.core.dtype import Array, DType
from alula.core.errors import UsageError
from alula.ir.graph import Graph, Node, Value
from alula.ir.types import TensorType, fixed
from alula.ir.verifier import verify
from alula.ops.attention import Attention
from alula.ops.conv import Conv2d
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.elementwise import Add, Cast, Mul
from alula.ops.matmul import Linear, group_of
from alula.ops.quantize import LARGEST_BYTE, Quantize, QuantizeRows
from alula.passes.absorb_bounds import AbsorbBounds
from alula.passes.hoist_narrowing import HoistNarrowing
from alula.passes.remove_dead_code import RemoveDeadCode
from alula.passes.remove_duplicates import RemoveDuplicates
from alula.passes.reuse_narrow import ReuseNarrow
from alula.passes.rewrite import Repeat
from alula.quant.balance import balance
from alula.quant.calibration import Activation, Calibration
from alula.quant.histogram import Floats
from alula.quant.moments import Moments
from alula.quant.products import depthwise, narrowable
from alula.quant.ranges import node_name, root, value_name
from alula.quant.scheme import Scheme
from alula.quant.weights import Weight

WIDEN = Cast(DType.F32)
LARGEST_WORD = 32767
FEWEST_QUERIES = 8  # for which keys become bytes
DEFAULT = Scheme()


def use_int8(graph: Graph, calibration: Calibration | None = None, scheme: Scheme = DEFAULT) -> None:
    """Linear layers and convolutions with constant float32 weights take bytes, in place; depthwise ones as activations.

    Activations have one scale, from the range that the scheme's algorithm found in `calibration`, or one for each row
    where `by_rows` says so: after a LayerNorm, whose kernel finds it as it writes the row, and where it is worth a step
    of its own.  Channels are balanced first, and biases take back the mean of what rounding does to weights.  Without
    calibration, and with per-token activations, all linear layers have a scale for each row; without it convolutions of
    anything but pixels stay as they are.  Both products of attention are of bytes; weights keep 16 bits, so that long
    rows of small ones count.  Raises UsageError for the calibration of another graph.
    """
    kept = {node.outputs[0] for node in graph.nodes if node_name(graph, node) in scheme.float_nodes}
    seen, moved = _balanced(graph, calibration)
    kept |= {moved[value] for value in kept if value in moved}
    symmetric = scheme.activations == "symmetric"
    bytes_ = {value: one.ranges[scheme.algorithm].quantize(symmetric=symmetric) for value, one in seen.items()}
    chosen = {node: None for node in graph.nodes if node.outputs[0] not in kept}
    products = [node for node in (*narrowable(graph, DType.I8), *depthwise(graph, DType.U8)) if node in chosen]
    quantised = {node: bytes_[root(node.inputs[0])] for node in products if root(node.inputs[0]) in bytes_}
    stored: dict[Value, Weight] = {}  # tied weights stay tied
    for node in products:
        mean, moments = _moments(node, seen)
        if _pixels(node):
            _use_pixels(graph, node, scheme, mean, moments)
        elif _by_rows(node, seen, scheme):
            _use_rows(graph, node, _stored(graph, node, scheme, stored, moments), mean)
        elif node not in quantised:
            continue
        elif isinstance(node.op, DepthwiseConv2d):
            _use_depthwise(graph, node, quantised[node])
        else:
            _use_range(graph, node, quantised[node], _stored(graph, node, scheme, stored, moments), mean)
    for node in chosen:
        if isinstance(node.op, Attention) and node.inputs[0].type.dtype is DType.F32:
            with graph.before(node):
                _put(graph, node, graph.add(_attention_of_bytes(node.op, node.inputs[0].type), *node.inputs))
    Repeat((HoistNarrowing(), RemoveDuplicates(), ReuseNarrow(), AbsorbBounds())).run(graph)
    verify(graph)


def _balanced(graph: Graph, calibration: Calibration | None) -> tuple[dict[Value, Activation], dict[Value, Value]]:
    """What calibration saw of each value, once channels are divided by their factors; which values moved whither."""
    if calibration is None:
        return {}, {}
    calibration.check(graph)
    names = {value_name(graph, value): value for value in [*graph.inputs, *_made(graph)]}
    if unknown := sorted(set(calibration.activations) - set(names)):
        raise UsageError(f"calibration: expected activations of the graph, got {unknown[0]}")
    seen = {names[name]: activation for name, activation in calibration.activations.items()}
    moved: dict[Value, Value] = {}
    for value, activation in seen.items():
        if activation.factors is not None:
            steps = balance(graph, moved.get(value, value), activation.factors)
            moved = {old: steps.get(new, new) for old, new in moved.items()} | steps
    RemoveDeadCode().run(graph)
    return {moved.get(value, value): activation for value, activation in seen.items()}, moved


def _made(graph: Graph) -> Iterator[Value]:
    for node in graph.nodes:
        yield from node.outputs


def _by_rows(node: Node, seen: Mapping[Value, Activation], scheme: Scheme) -> bool:
    """True for a linear layer whose rows find their own scale: as calibration says, and all without it."""
    x, source = node.inputs[0], root(node.inputs[0])
    if not isinstance(node.op, Linear):
        return False
    if scheme.activations == "per-token" or not seen:
        return True
    return source in seen and seen[source].by_rows and x.type.shape[-1:] == source.type.shape[-1:]


def _pixels(node: Node) -> bool:
    """True for a convolution that takes u8 as it is and scales it by channel."""
    return isinstance(node.op, Conv2d) and bool(node.op.scale) and node.inputs[0].type.dtype is DType.U8


def _moments(node: Node, seen: Mapping[Value, Activation]) -> tuple[Floats | None, Moments | None]:
    """The first operand's mean and moments; None where calibration did not see it, or a view mixes channels."""
    x = node.inputs[0]
    activation = seen.get(root(x))
    if activation is None or x.type.shape[-1:] != root(x).type.shape[-1:]:
        return None, None
    mean = activation.mean if activation.factors is None else activation.mean / activation.factors
    return mean, activation.moments


def _use_range(graph: Graph, node: Node, quantize: Quantize, levels: Weight, mean: Floats | None) -> None:
    """One scale for all of x; the border of a convolution is the byte that stands for 0."""
    x, op = node.inputs[0], node.op
    if isinstance(op, Conv2d) and quantize.zero:
        op = replace(op, border=(quantize.zero,) * _channels(x))
    scales = quantize.scale * levels.steps
    shifts = _bias(node, levels, mean) - scales * quantize.zero * levels.sums
    with graph.before(node):
        total = graph.add(WIDEN, graph.add(op, graph.add(quantize, x), levels.levels))
        _put(graph, node, _scaled(graph, total, scales, shifts))


def _use_depthwise(graph: Graph, node: Node, quantize: Quantize) -> None:
    """One scale for all of x; weights keep 16 bits, for they are few."""
    op, (x, weight, *bias) = node.op, node.inputs
    assert isinstance(op, DepthwiseConv2d)
    assert weight.data is not None
    plain = weight.data.astype(np.float64)
    largest = np.abs(plain).max(axis=(0, 1))
    steps = np.where(largest > 0, largest / LARGEST_WORD, 1.0)
    levels = np.rint(plain / steps)
    scales = quantize.scale * steps
    shifts = -scales * quantize.zero * levels.sum(axis=(0, 1))
    for value in bias:
        assert value.data is not None, "depthwise nodes have constant biases"
        shifts += value.data
    words = graph.constant(levels.astype(np.int16), weight.name)
    with graph.before(node):
        total = graph.add(WIDEN, graph.add(replace(op, zero=quantize.zero), graph.add(quantize, x), words))
        _put(graph, node, _scaled(graph, total, scales, shifts))


def _use_rows(graph: Graph, node: Node, levels: Weight, mean: Floats | None) -> None:
    """A scale and a zero for each row of x."""
    x = node.inputs[0]
    shifts = _bias(node, levels, mean)
    with graph.before(node):
        rows = graph.add_node(QuantizeRows(), x)
        q, row_scales, zeros = rows.outputs
        total = graph.add(WIDEN, graph.add(node.op, q, levels.levels))
        centred = graph.add(Add(), total, graph.add(Mul(), zeros, _vector(graph, -levels.sums)))
        scaled = graph.add(Mul(), graph.add(Mul(), centred, _vector(graph, levels.steps)), row_scales)
        _put(graph, node, graph.add(Add(), scaled, _vector(graph, shifts)) if shifts.any() else scaled)


def _use_pixels(graph: Graph, node: Node, scheme: Scheme, mean: Floats | None, moments: Moments | None) -> None:
    """Pixels are bytes already: their scales by channel go into the weights, the border is the byte nearest to 0."""
    x, weight, *_ = node.inputs
    op, plain = node.op, weight.data
    assert isinstance(op, Conv2d)
    assert plain is not None
    scale, shift = np.array(op.scale), np.array(op.shift)
    border = np.clip(np.rint(-shift / scale), 0, LARGEST_BYTE)
    levels = Weight.of(graph, plain * scale, weight.name, scheme, moments)
    assert levels.levels.data is not None
    offsets = (levels.levels.data.astype(np.float64) * border).sum(axis=(1, 2, 3)) * levels.steps
    rest = (plain.astype(np.float64) * (scale * border + shift)).sum(axis=(1, 2, 3))
    shifts = _bias(node, levels, None if mean is None else mean - border) + rest - offsets
    with graph.before(node):
        quantised = replace(op, scale=(), shift=(), border=tuple(int(level) for level in border))
        total = graph.add(WIDEN, graph.add(quantised, x, levels.levels))
        _put(graph, node, _scaled(graph, total, levels.steps, shifts))


def _attention_of_bytes(op: Attention, q: TensorType) -> Attention:
    """Scores too where there are enough queries to be worth rounding all keys for."""
    _, queries, columns = q.dims("BNC")
    words = fixed(columns, "number of columns") // op.heads % group_of(DType.I8) == 0
    many = not isinstance(queries, int) or queries >= FEWEST_QUERIES
    return replace(op, byte_values=True, byte_scores=words and many)


def _stored(graph: Graph, node: Node, scheme: Scheme, stored: dict[Value, Weight], moments: Moments | None) -> Weight:
    weight = node.inputs[1]
    if weight not in stored:
        assert weight.data is not None
        stored[weight] = Weight.of(graph, weight.data, weight.name, scheme, moments)
    return stored[weight]


def _bias(node: Node, levels: Weight, mean: Floats | None) -> Floats:
    """The bias, and what takes back the mean of what the weights' rounding does."""
    shifts = np.zeros(len(levels.steps)) if mean is None else levels.correction(node, mean)
    for bias in node.inputs[2:]:
        assert bias.data is not None, "narrowable nodes have constant biases"
        shifts += bias.data
    return shifts


def _scaled(graph: Graph, total: Value, scales: Array, shifts: Array) -> Value:
    """total * scales + shifts, by channel."""
    return graph.add(Add(), graph.add(Mul(), total, _vector(graph, scales)), _vector(graph, shifts))


def _vector(graph: Graph, values: Array) -> Value:
    return graph.constant(values.astype(np.float32))


def _channels(x: Value) -> int:
    channels = x.type.shape[-1]
    assert isinstance(channels, int)
    return channels


def _put(graph: Graph, node: Node, value: Value) -> None:
    graph.replace(node.output, value)
    graph.remove(node)
