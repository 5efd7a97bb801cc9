"""Channels of unequal size share a scale badly: some of their size moves into the weights that follow.

    y = W x = (W s) (x / s), s a positive factor for each channel of x

Bytes of x / s are off by a variance of d**2 / 12, d the step of all channels together, and bytes of W s by e[o]**2 / 12,
e[o] the step of feature o.  What y is off by, of its own variance, is then about

    sum over c of s[c]**2 |W[:,c]|**2 d**2 / 12  +  sum over o, c of e[o]**2 / 12 E[x[c]**2] / s[c]**2

which is computed for s[c] = max |x[c]| ** a / max |W[:,c]| ** b and several a and b, and the least is taken.  b = 1 - a is
SmoothQuant (Xiao et al., arXiv 2211.10438, equation 4); b = 0 balances channels as cross-layer equalisation does (Nagel
et al., arXiv 1906.04721, section 4.1), through depthwise convolutions too, whose weights stay float.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from alula.core.dtype import Array
from alula.ir.graph import Graph, Node, Value
from alula.ops.conv import Conv2d
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.matmul import Linear
from alula.ops.pool import AvgPool2d, MaxPool2d
from alula.ops.quantize import LARGEST_BYTE, STEPS
from alula.passes.affine import Affine, prescaled
from alula.quant.dividing import divider, keeps_channels
from alula.quant.histogram import Floats
from alula.quant.observed import Observed

EXPONENTS = np.linspace(0, 0.5, 11)
LEAST = 2.0**-12  # of the largest channel: nothing is gained by making smaller ones as large
WORTH = 0.97  # of the error without factors: what is hardly better is not done
PASSING = (MaxPool2d, AvgPool2d)  # on the way to a product, channel by channel


@dataclass(frozen=True, slots=True)
class Product:
    """weights[o,k,c] of one use of an activation, or taps[k,c] of a depthwise one, which stay float."""

    weights: Array
    exact: bool

    def error(self, s: Floats, step: float, squares: Floats) -> float:
        """What its result is off by, of its own variance, with channels of mean squares E[x**2] divided by s."""
        energy = np.square(self.weights).reshape(-1, len(s)).sum(axis=0)
        off = float((s**2 * energy).sum()) * step**2 / 12
        if not self.exact:
            taps = self.weights.shape[1]
            steps = np.abs(self.weights * s).max(axis=(1, 2)) / STEPS
            off += float(np.square(steps).sum()) / 12 * taps * float((squares / s**2).sum())
        return off / max(float((energy * squares).sum()), np.finfo(float).tiny)


def balanced(graph: Graph, value: Value, seen: Observed) -> Floats | None:
    """Factors f64[c] to divide a value by before it becomes bytes; None where nothing is gained or it cannot be done."""
    nodes = products_of(graph, value)
    if nodes is None or divider(graph, value) is None:
        return None
    products = [_product(node) for node in nodes]
    squares = np.maximum(seen.mean_square - seen.mean**2, 0.0)
    reach = np.maximum(-seen.low, seen.high)
    if not reach.max(initial=0) > 0:
        return None
    reach = np.maximum(reach, LEAST * reach.max())
    weights = np.max([np.abs(p.weights).reshape(-1, len(reach)).max(axis=0) for p in products], axis=0)
    weights = np.maximum(weights, LEAST * max(weights.max(), np.finfo(float).tiny))

    def error(s: Floats) -> float:
        low, high = min(0.0, float((seen.low / s).min())), max(0.0, float((seen.high / s).max()))
        step = (high - low) / LARGEST_BYTE
        return sum(product.error(s, step, squares) for product in products)

    tried = [reach**a for a in EXPONENTS]
    errors = [error(s) for s in tried]
    best = int(np.argmin(errors))
    if not errors[best] < WORTH * error(np.ones_like(reach)):
        return None
    return tried[best] / np.exp(np.log(tried[best]).mean())


def products_of(graph: Graph, value: Value) -> list[Node] | None:
    """The products that take a value, each channel as it is; None where anything else takes it as well."""
    found: list[Node] = []
    if any(value is output for _, output in graph.outputs):
        return None
    for user in dict.fromkeys(value.uses):
        if isinstance(user.op, Linear | Conv2d | DepthwiseConv2d) and user.inputs[0] is value and _takes_factors(user):
            found.append(user)
        elif isinstance(user.op, PASSING) or keeps_channels(user):
            inner = products_of(graph, user.output)
            if inner is None:
                return None
            found += inner
        else:
            return None
    return found


def balance(graph: Graph, value: Value, factors: Floats) -> dict[Value, Value]:
    """The value divided and its products' weights multiplied, in place; which values stand for which ones now."""
    products, divide = products_of(graph, value), divider(graph, value)
    assert products is not None
    assert divide is not None
    divided = divide(factors)
    graph.replace(value, divided)
    moved = {value: divided}
    for node in products:
        with graph.before(node):
            new = prescaled(graph, node, node.inputs[0], Affine(factors, None))
        assert new is not None, "a factor alone needs no padding but 0"
        graph.replace(node.output, new)
        moved[node.output] = new
        graph.remove(node)
    return moved


def _takes_factors(node: Node) -> bool:
    op = node.op
    plain = not isinstance(op, Conv2d) or (op.groups == 1 and not op.scale)
    return plain and all(value.is_constant for value in node.inputs[1:])


def _product(node: Node) -> Product:
    weight = node.inputs[1].data
    assert weight is not None
    w = weight.astype(np.float64)
    exact = isinstance(node.op, DepthwiseConv2d)
    return Product(w if exact else w.reshape(len(w), -1, w.shape[-1]), exact)
