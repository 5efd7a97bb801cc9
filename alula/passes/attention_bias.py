"""What is added to scores, as the bias[g,heads or 1,n or 1,m] that attention takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from alula.core.dims import Dim, product, quotient
from alula.core.dtype import Array
from alula.ir.graph import Graph, Value
from alula.ir.types import TensorType
from alula.ops.attention import divides
from alula.ops.checks import broadcast
from alula.ops.elementwise import Add
from alula.ops.shape import Expand, Reshape
from alula.passes.match import made_by

Shape = tuple[Dim, ...]

DEPTH = 4  # of sums, repetitions and reshapes that a bias is made by


@dataclass(frozen=True, slots=True)
class Addend:
    """`value`, added to scores of the shape [batch...,n,m]."""

    value: Value
    scores: Shape


def bias_maker(addends: Sequence[Addend], heads: int, *, guarded: bool) -> Callable[[Graph], Value] | None:
    """How to make the sum of the addends for so many heads; None where attention does not take it.

    `guarded` weights become 0 where a row is hidden as a whole: then the bias has to be known to hide none.
    """
    known: list[Array] = []
    others: list[tuple[Value, Shape]] = []
    total: Shape = (1, 1, 1, 1)
    for addend in addends:
        array = periodic(addend.value)
        shape = by_head(addend.value.type.shape if array is None else array.shape, addend.scores, heads)
        if shape is None or not _fit(total, shape):
            return None
        total = broadcast(total, shape)
        if array is None:
            others.append((addend.value, shape))
        else:
            known.append(array.reshape(shape))  # type: ignore[arg-type] # the shape of an array has no named sizes
    constant = sum(known[1:], known[0]) if known else None
    if guarded and (others or constant is None or (constant.max(-1) == -np.inf).any()):
        return None

    def make(graph: Graph) -> Value:
        values = [] if constant is None else [graph.constant(np.require(constant, requirements="C"))]
        values += [graph.add(Reshape(shape), value) for value, shape in others]
        first, *rest = values
        for value in rest:
            first = graph.add(Add(), first, value)
        return first

    return make


def periodic(value: Value, depth: int = DEPTH) -> Array | None:
    """The elements of a value that is made of constants, without what repeats them for the batch; None for others.

    Repeated along its first axis, and broadcast along the others, it is the value.
    """
    if value.data is not None:
        return value.data
    node = value.producer
    if node is None or not depth:
        return None
    if isinstance(node.op, Expand):
        return _padded(node.inputs[0], value.type.rank, depth)
    if isinstance(node.op, Add):
        a, b = (_padded(operand, value.type.rank, depth) for operand in node.inputs)
        return a + b if a is not None and b is not None and _fit(a.shape, b.shape) else None
    expand = made_by(node.inputs[0], Expand) if isinstance(node.op, Reshape) else None
    if expand is None:
        return None
    return _repeated(_padded(expand.inputs[0], expand.output.type.rank, depth), expand.output.type, value.type.shape)


def by_head(own: Shape, scores: Shape, heads: int) -> Shape | None:
    """[g,heads or 1,n or 1,m] for what has the shape `own` and is broadcast to `scores`; None where it is none."""
    own = (1,) * (len(scores) - len(own)) + own
    if own[-1] != scores[-1] or own[-2] not in (1, scores[-2]):
        return None
    if all(dim == 1 for dim in own[:-2]):
        return (1, 1, *own[-2:])
    cut = next((cut for cut in range(len(scores) - 2, -1, -1) if product(scores[cut:-2]) == heads), None)
    if cut is None:
        return None
    inner, outer = own[cut:-2], list(zip(own[:cut], scores[:cut], strict=True))
    if any(dim != 1 for dim in inner) and inner != scores[cut:-2]:
        return None
    while outer and outer[0][0] == 1:
        outer.pop(0)
    if outer and (not divides(*outer[0]) or any(dim != size for dim, size in outer[1:])):
        return None
    return (product(dim for dim, _ in outer), product(inner), *own[-2:])


def _repeated(array: Array | None, expanded: TensorType, shape: Shape) -> Array | None:
    """The period of an array that is expanded along a first axis of size 1, and reshaped with that axis outermost."""
    inner = expanded.shape[1:]
    if array is None or array.shape[0] != 1 or not all(isinstance(dim, int) for dim in (*inner, *shape[1:])):
        return None
    if not divides(expanded.shape[0], shape[0]):
        return None
    period = quotient(shape[0], expanded.shape[0])
    return np.broadcast_to(array[0], inner).reshape(period, *shape[1:])  # type: ignore[arg-type]


def _padded(value: Value, rank: int, depth: int) -> Array | None:
    """`periodic` of an operand, up to a rank; where that is larger, its first axis must not be a repeated one."""
    array = periodic(value, depth - 1)
    if array is None or (value.type.rank < rank and value.type.symbols()):
        return None
    return array.reshape((1,) * (rank - array.ndim) + array.shape)


def _fit(a: Shape, b: Shape) -> bool:
    """True where two shapes of one rank broadcast."""
    return all(x == y or 1 in (x, y) for x, y in zip(a, b, strict=True))
