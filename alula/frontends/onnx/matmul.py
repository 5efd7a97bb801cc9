"""Importers of matrix products."""

from __future__ import annotations

import string
from collections.abc import Sequence

from alula.core.dims import Dim, product
from alula.frontends.onnx.call import Call, imports
from alula.ir.graph import Value
from alula.ops.checks import broadcast as broadcast_shape
from alula.ops.elementwise import Add, Mul
from alula.ops.matmul import Linear, Matmul
from alula.ops.reduce import ReduceSum
from alula.ops.shape import Expand


@imports("MatMul")
def matmul(call: Call, a: Value, b: Value) -> Value:
    """a @ b as NumPy has it; a constant matrix on the right is a weight."""
    if not a.type.rank or not b.type.rank:
        call.refuse(f"of {a.type} and {b.type}")
    if not a.type.dtype.is_float:
        call.refuse(f"of {a.type.dtype}")
    left = call.reshape(a, 1, *a.type.shape) if a.type.rank == 1 else a
    right = call.reshape(b, *b.type.shape, 1) if b.type.rank == 1 else b
    y = product_of(call, left, right)
    shape = list(y.type.shape)
    if b.type.rank == 1:
        shape.pop()
    if a.type.rank == 1:
        shape.pop(-1 if b.type.rank == 1 else -2)
    return call.reshape(y, *shape)


def product_of(call: Call, a: Value, b: Value) -> Value:
    """a @ b of matrices."""
    if b.is_constant and b.type.rank == 2 and not a.is_constant:
        return call.add(Linear(), a, call.transpose(b, 1, 0))
    return call.add(Matmul(), a, b)


@imports("Gemm")
def gemm(call: Call, a: Value, b: Value, c: Value | None = None) -> Value:
    """alpha * a @ b + beta * c, either matrix perhaps turned."""
    alpha, beta = call.get("alpha", 1.0), call.get("beta", 1.0)
    if a.type.rank != 2 or b.type.rank != 2 or not a.type.dtype.is_float:
        call.refuse(f"of {a.type} and {b.type}")
    a = call.transpose(a, 1, 0) if call.get("transA", 0) else a
    turned = bool(call.get("transB", 0))
    if b.is_constant and not a.is_constant:
        weight = b if turned else call.transpose(b, 1, 0)
        if alpha == beta == 1 and c is not None and c.type.shape == weight.type.shape[:1]:
            return call.add(Linear(), a, weight, c)
        y = call.add(Linear(), a, weight)
    else:
        y = call.add(Matmul(), a, call.transpose(b, 1, 0) if turned else b)
    y = y if alpha == 1 else call.add(Mul(), y, call.like(alpha, y))
    if c is None or beta == 0:
        return y
    return call.add(Add(), y, c if beta == 1 else call.add(Mul(), c, call.like(beta, c)))


@imports("Einsum")
def einsum(call: Call, *operands: Value) -> Value:
    """Sums of products over named axes, two operands at a time."""
    equation = call.get("equation", "").replace(" ", "")
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(operands) or not operands or not all(v.type.dtype.is_float for v in operands):
        call.refuse(f"{equation!r:.60} of {len(operands)} operands")
    names = _named(call, terms, operands)
    rest = "" if arrow else "".join(sorted(n for n in set(left) - set(",.") if left.count(n) == 1))
    dots = max((len(t) - len(t.replace("...", "")) and len(n) - len(t) + 3) for t, n in zip(terms, names, strict=True))
    output = (right if arrow else "..." + rest if "..." in left else rest).replace("...", _DOTS[:dots][::-1])
    if len(set(output)) != len(output) or not set(output) <= set("".join(names)):
        call.refuse(f"{equation!r:.60}")
    value, axes = operands[0], names[0]
    value, axes = _diagonal(call, value, axes)
    for place, (other, own) in enumerate(zip(operands[1:], names[1:], strict=True), start=1):
        other, own = _diagonal(call, other, own)
        later = set(output).union(*names[place + 1 :])
        value, axes = _contracted(call, value, axes, other, own, later)
    return _ordered(call, *_summed(call, value, axes, set(output)), output)


_DOTS = string.ascii_uppercase[::-1]  # names of the axes that dots stand for, the last one first


def _named(call: Call, terms: Sequence[str], operands: Sequence[Value]) -> list[str]:
    names = []
    for term, value in zip(terms, operands, strict=True):
        letters = term.replace("...", "")
        dots = value.type.rank - len(letters) if "..." in term else 0
        used = set("".join(terms)) & set(string.ascii_uppercase)
        if (not letters.isalpha() and letters) or dots < 0 or (dots and used):
            call.refuse(f"with {term!r:.40} of {value.type}")
        name = term.replace("...", _DOTS[:dots][::-1])
        if len(name) != value.type.rank:
            call.refuse(f"with {term!r:.40} of {value.type}")
        names.append(name)
    return names


def _diagonal(call: Call, value: Value, axes: str) -> tuple[Value, str]:
    if len(set(axes)) != len(axes):
        call.refuse(f"of a diagonal {axes}")
    return value, axes


def _summed(call: Call, value: Value, axes: str, kept: set[str]) -> tuple[Value, str]:
    """Without the axes that nothing needs any more."""
    gone = tuple(place for place, name in enumerate(axes) if name not in kept)
    if not gone:
        return value, axes
    return call.add(ReduceSum(axes=gone), value), "".join(name for name in axes if name in kept)


def _ordered(call: Call, value: Value, axes: str, wanted: str) -> Value:
    return call.transpose(value, *(axes.index(name) for name in wanted))


def _contracted(call: Call, a: Value, left: str, b: Value, right: str, kept: set[str]) -> tuple[Value, str]:
    """The product of two operands as a batch of matrix products."""
    a, left = _summed(call, a, left, kept | set(right))
    b, right = _summed(call, b, right, kept | set(left))
    both = [name for name in left if name in right]
    batch, inner = [n for n in both if n in kept], [n for n in both if n not in kept]
    rows, columns = [n for n in left if n not in both], [n for n in right if n not in both]
    size: dict[str, Dim] = dict(zip(left, a.type.shape, strict=True))
    for name, dim in zip(right, b.type.shape, strict=True):
        if name not in size or size[name] == 1:
            size[name] = dim
        elif dim not in (1, size[name]):
            call.refuse(f"of {name} with sizes {size[name]} and {dim}")
    a, b = _wide(call, a, left, size), _wide(call, b, right, size)
    a = _ordered(call, a, left, "".join([*batch, *rows, *inner]))
    b = _ordered(call, b, right, "".join([*batch, *inner, *columns]))
    outer = [size[name] for name in batch]
    m, k, n = (product(size[name] for name in group) for group in (rows, inner, columns))
    y = call.add(Matmul(), call.reshape(a, *outer, m, k), call.reshape(b, *outer, k, n))
    names = "".join([*batch, *rows, *columns])
    return call.reshape(y, *(size[name] for name in names)), names


def _wide(call: Call, value: Value, axes: str, size: dict[str, Dim]) -> Value:
    shape = tuple(size[name] for name in axes)
    broadcast_shape(value.type.shape, shape)
    return value if value.type.shape == shape else call.add(Expand(shape=shape), value)
