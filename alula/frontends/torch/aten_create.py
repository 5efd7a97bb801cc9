"""Importers of tensors filled with one number whose shape depends on the batch; fixed shapes are constants already."""

from __future__ import annotations

from typing import Any

from alula.frontends.torch.aten_shape import broadcast
from alula.frontends.torch.call import Call, Number, imports
from alula.ir.graph import Value


def filled(call: Call, number: Number) -> Value:
    """`number` in the result's shape and element type."""
    return broadcast(call, call.operand(number, call.type.dtype), *call.type.shape)


@imports("aten.zeros.default", "aten.zeros_like.default", "aten.new_zeros.default")
def zeros(call: Call, *_: Any, dtype: Any = None) -> Value:
    """Zeros."""
    return filled(call, 0)


@imports("aten.ones.default", "aten.ones_like.default", "aten.new_ones.default")
def ones(call: Call, *_: Any, dtype: Any = None) -> Value:
    """Ones."""
    return filled(call, 1)


@imports("aten.full.default", "aten.full_like.default")
def full(call: Call, shape: Any, fill: Number, dtype: Any = None) -> Value:
    """One number everywhere."""
    return filled(call, fill)


@imports("aten.new_full.default")
def new_full(call: Call, x: Value, shape: Any, fill: Number, dtype: Any = None) -> Value:
    """One number everywhere."""
    return filled(call, fill)
