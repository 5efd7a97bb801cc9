"""GELU as one op."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import pi, sqrt
from typing import ClassVar

from alula.ir.graph import Graph, Node, Value
from alula.ops.elementwise import Add, Div, Erf, Gelu, Mul, Neg, Pow, Sub, Tanh
from alula.passes.match import made_by, near, scalar, scaled
from alula.passes.rewrite import RewritePass

Polynomial = dict[int, float]  # power of x -> coefficient

ERF_ARGUMENT: Polynomial = {1: 1 / sqrt(2)}
TANH_ARGUMENT: Polynomial = {1: sqrt(2 / pi), 3: sqrt(2 / pi) * 0.044715}
DEPTH = 8  # nodes on a path from an argument to x: as many as the formula can be spread over
HIGHEST_POWER = 3


@dataclass(frozen=True)
class FuseGelu(RewritePass):
    """0.5 * x * (1 + erf(x / sqrt(2)))  =>  gelu(x), and with tanh(sqrt(2/pi) * (x + 0.044715 x^3)) its approximation.

    The factors may be multiplied in any order, the argument be written as any polynomial of x that is the same, and the
    curve, which is odd, be taken away where its argument is the negative.
    """

    name: ClassVar[str] = "fuse-gelu"
    anchors: ClassVar = (Mul, Div)

    def rewrite(self, node: Node, graph: Graph) -> Value | None:
        for gate in _gates(node):
            curve = next(value.producer for value in gate.inputs if made_by(value, Erf, Tanh))
            if curve is None:
                continue
            wanted, approximate = (ERF_ARGUMENT, "none") if isinstance(curve.op, Erf) else (TANH_ARGUMENT, "tanh")
            sign = -1.0 if isinstance(gate.op, Sub) else 1.0
            for x in _factors(node):
                if x.type != node.output.type or not _is_half_product(node.output, x, gate.output):
                    continue
                found = polynomial(curve.inputs[0], x)
                if (
                    found is not None
                    and found.keys() == wanted.keys()
                    and all(near(found[p], sign * wanted[p]) for p in wanted)
                ):
                    return graph.add(Gelu(approximate), x)
        return None


def _factors(node: Node, depth: int = 3) -> Iterator[Value]:
    """What is multiplied to make the node's output, products of them too."""
    for value in node.inputs:
        if not value.is_constant:
            yield value
            if depth and (inner := made_by(value, Mul, Div)) is not None:
                yield from _factors(inner, depth - 1)


def _gates(node: Node) -> Iterator[Node]:
    """The factors that are 1 + erf(..) or 1 + tanh(..), or 1 less one of them."""
    for value in _factors(node):
        gate = made_by(value, Add, Sub)
        if gate is None or not any(made_by(v, Erf, Tanh) for v in gate.inputs[isinstance(gate.op, Sub) :]):
            continue
        if any(near(scalar(v), 1.0) for v in gate.inputs):
            yield gate


def _is_half_product(value: Value, x: Value, gate: Value) -> bool:
    """True where `value` is 0.5 * x * gate, in whatever order it was multiplied."""
    factor, xs, gates = 1.0, 0, 0
    pending = [value]
    while pending:
        value = pending.pop()
        if value is x:
            xs += 1
        elif value is gate:
            gates += 1
        elif (found := scaled(value.producer)) is not None:
            pending.append(found[0])
            factor *= found[1]
        elif (inner := made_by(value, Mul)) is not None and len(pending) < DEPTH:
            pending += inner.inputs
        else:
            return False
    return xs == gates == 1 and near(factor, 0.5)


def polynomial(value: Value, x: Value, depth: int = DEPTH) -> Polynomial | None:
    """`value` as a polynomial of x up to the third power; None where it is none."""
    if value is x:
        return {1: 1.0}
    if (number := scalar(value)) is not None:
        return {0: number} if number else {}
    node = value.producer
    if node is None or not depth or not isinstance(node.op, Add | Sub | Mul | Div | Neg | Pow):
        return None
    terms = [polynomial(operand, x, depth - 1) for operand in node.inputs]
    if any(term is None for term in terms):
        return None
    a, b = terms[0] or {}, (terms[1] or {}) if len(terms) > 1 else {}
    match node.op:
        case Add():
            return _sum(a, b)
        case Sub():
            return _sum(a, _product(b, {0: -1.0}) or {})
        case Neg():
            return _product(a, {0: -1.0})
        case Mul():
            return _product(a, b)
        case Div():
            return _product(a, {0: 1 / b[0]}) if b.keys() == {0} else None
    exponent = b.get(0, 0.0) if b.keys() <= {0} else -1.0
    return _power(a, int(exponent)) if exponent in (1, 2, 3) else None


def _sum(a: Polynomial, b: Polynomial) -> Polynomial:
    return {power: a.get(power, 0.0) + b.get(power, 0.0) for power in sorted({*a, *b})}


def _product(a: Polynomial, b: Polynomial) -> Polynomial | None:
    total: Polynomial = {}
    for p, x in a.items():
        for q, y in b.items():
            total[p + q] = total.get(p + q, 0.0) + x * y
    return total if max(total, default=0) <= HIGHEST_POWER else None


def _power(a: Polynomial, exponent: int) -> Polynomial | None:
    total: Polynomial | None = a
    for _ in range(exponent - 1):
        total = _product(total, a) if total is not None else None
    return total
