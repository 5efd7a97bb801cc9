"""Importers of matrix products."""

from __future__ import annotations

from alula.frontends.torch.aten_math import arithmetic
from alula.frontends.torch.call import Call, Number, imports
from alula.ir.graph import Value
from alula.ops.elementwise import Add, Mul
from alula.ops.matmul import Linear, Matmul


@imports("aten.linear.default")
def linear(call: Call, x: Value, weight: Value, bias: Value | None = None) -> Value:
    """x[...,k] @ weight[n,k].T + bias[n]."""
    return call.add(Linear(), x, weight, *([] if bias is None else [bias]))


@imports("aten.matmul.default", "aten.mm.default", "aten.bmm.default")
def matmul(call: Call, a: Value, b: Value) -> Value:
    """a @ b; a constant matrix on the right is a weight."""
    if a.type.rank < 2 or b.type.rank < 2:
        call.refuse(f"of {a.type} and {b.type}")
    if b.is_constant and b.type.rank == 2:
        return call.add(Linear(), a, call.transpose(b, 1, 0))
    return call.add(Matmul(), a, b)


@imports("aten.addmm.default", "aten.baddbmm.default")
def add_matmul(call: Call, c: Value, a: Value, b: Value, beta: Number = 1, alpha: Number = 1) -> Value:
    """beta * c + alpha * (a @ b)."""
    if b.is_constant and b.type.rank == 2 and c.type.shape == b.type.shape[1:] and alpha == beta == 1:
        return call.add(Linear(), a, call.transpose(b, 1, 0), c)
    product = matmul(call, a, b)
    scaled = product if alpha == 1 else arithmetic(call, Mul(), product, alpha)
    return call.add(Add(), c if beta == 1 else arithmetic(call, Mul(), c, beta), scaled)
