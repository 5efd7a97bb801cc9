"""LayerNorm as one op."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from alula.core.dims import Dim
from alula.core.dtype import Array
from alula.ir.graph import Graph, Node, Value
from alula.ops.elementwise import Add, Div, Mul, Neg, Pow, Reciprocal, Rsqrt, Sqrt, Sub
from alula.ops.norm import LayerNorm
from alula.ops.reduce import ReduceMean
from alula.passes.match import exact, made_by, rounded, scalar
from alula.passes.rewrite import RewritePass


@dataclass(frozen=True)
class FuseLayerNorm(RewritePass):
    """(x - mean(x)) / sqrt(mean((x - mean(x))^2) + eps)  =>  layer_norm(x, 1, 0), means over the last axis.

    The division may be a product with rsqrt or with a reciprocal, the square a power or a product.  What is multiplied
    and added afterwards becomes gamma and beta (fold-scale-shift).  Keras writes x * s + (beta - mean(x) * s) with
    s = gamma / sqrt(..): layer_norm(x, gamma, beta).
    """

    name: ClassVar[str] = "fuse-layer-norm"
    anchors: ClassVar = (Div, Mul, Add)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        left, right = node.inputs
        if isinstance(node.op, Add):
            return _spread_out(left, right, graph) or _spread_out(right, left, graph)
        found = _normalised(left, _root(right) if isinstance(node.op, Div) else _inverse_root(right))
        if found is None and isinstance(node.op, Mul):
            found = _normalised(right, _inverse_root(left))
        if found is None:
            return None
        x, eps = found
        c = x.type.shape[-1]
        if not isinstance(c, int) or x.type != node.output.type:
            return None
        gamma, beta = (graph.constant(rounded(vector, x.type.dtype)) for vector in (np.ones(c), np.zeros(c)))
        return graph.add(LayerNorm(eps), x, gamma, beta)


def _spread_out(scaled: Value, rest: Value, graph: Graph) -> Value | None:
    """layer_norm(x, gamma, beta) where `scaled` is x * s and `rest` is beta - mean(x) * s."""
    product, beta = made_by(scaled, Mul), None
    if (total := made_by(rest, Add)) is not None:
        rest, beta = total.inputs if total.inputs[1].is_constant else total.inputs[::-1]
    shift = made_by(rest, Mul)
    if product is None or shift is None or not (beta is None or beta.is_constant):
        return None
    for x, s in (product.inputs, product.inputs[::-1]):
        mean = next((value for value in shift.inputs if value is not s), None)
        negated = made_by(mean, Neg) if mean is not None else None
        if s not in shift.inputs or negated is None or _mean_of(negated.inputs[0]) is not x:
            continue
        inverse, gamma = s, None
        if (weighed := made_by(s, Mul)) is not None:
            inverse, gamma = weighed.inputs if weighed.inputs[1].is_constant else weighed.inputs[::-1]
        eps, c = _eps_of(_inverse_root(inverse), x), x.type.shape[-1]
        vectors = _vector(gamma, 1.0, c), _vector(beta, 0.0, c)
        if eps is not None and vectors[0] is not None and vectors[1] is not None:
            constants = (graph.constant(rounded(vector, x.type.dtype)) for vector in vectors if vector is not None)
            return graph.add(LayerNorm(eps), x, *constants)
    return None


def _eps_of(radicand: Value | None, x: Value) -> float | None:
    """eps where `radicand` is the variance of x along its last axis, plus eps."""
    total = made_by(radicand, Add) if radicand is not None else None
    for variance, constant in (total.inputs, total.inputs[::-1]) if total is not None else ():
        mean, eps = _mean_of(variance), scalar(constant)
        squared = _square_of(mean) if mean is not None else None
        if squared is not None and _x_of(squared) is x and eps is not None and eps >= 0:
            return eps
    return None


def _vector(value: Value | None, default: float, c: Dim) -> Array | None:
    """A constant along the last axis as f64[c]; None where it is none."""
    if value is None:
        return np.full(c, default) if isinstance(c, int) else None
    data = exact(value)
    return data.reshape(-1) if data is not None and data.ndim and data.shape[-1] == data.size == c else None


def _root(value: Value) -> Value | None:
    """a of sqrt(a)."""
    node = made_by(value, Sqrt)
    if node is not None:
        return node.inputs[0]
    power = made_by(value, Pow)
    return power.inputs[0] if power is not None and scalar(power.inputs[1]) == 0.5 else None


def _inverse_root(value: Value) -> Value | None:
    """a of 1 / sqrt(a)."""
    if (node := made_by(value, Rsqrt)) is not None:
        return node.inputs[0]
    if (node := made_by(value, Reciprocal)) is not None:
        return _root(node.inputs[0])
    if (node := made_by(value, Div)) is not None:
        return _root(node.inputs[1]) if scalar(node.inputs[0]) == 1 else None
    node = made_by(value, Pow)
    return node.inputs[0] if node is not None and scalar(node.inputs[1]) == -0.5 else None


def _normalised(centred: Value, radicand: Value | None) -> tuple[Value, float] | None:
    """x and eps, where `centred` is x - mean(x) and `radicand` its variance + eps."""
    x = _x_of(centred)
    eps = _eps_of(radicand, x) if x is not None else None
    return None if x is None or eps is None else (x, eps)


def _x_of(centred: Value) -> Value | None:
    """x of x - mean(x)."""
    node = made_by(centred, Sub)
    if node is None or _mean_of(node.inputs[1]) is not node.inputs[0]:
        return None
    return node.inputs[0]


def _mean_of(value: Value) -> Value | None:
    """a of the mean of a over its last axis, which stays, of size 1."""
    node = made_by(value, ReduceMean)
    if node is None or not isinstance(node.op, ReduceMean):
        return None
    x = node.inputs[0]
    return x if node.op.keepdims and node.op.axes == (x.type.rank - 1,) else None


def _square_of(value: Value) -> Value | None:
    """a of a * a or a ** 2."""
    node = value.producer
    if node is None or not isinstance(node.op, Mul | Pow):
        return None
    a, b = node.inputs
    return a if (a is b if isinstance(node.op, Mul) else scalar(b) == 2) else None
