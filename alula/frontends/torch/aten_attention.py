"""Importers of softmax and of attention that comes as one operator."""

from __future__ import annotations

from typing import Any

import numpy as np

from alula.core.dtype import DType
from alula.frontends.torch.call import Call, axis_of, imports
from alula.ir.graph import Value
from alula.ops.elementwise import Add, Exp, Log, Mul, Sub
from alula.ops.matmul import Matmul
from alula.ops.reduce import ReduceMax, ReduceSum
from alula.ops.shape import Expand
from alula.ops.softmax import Softmax


@imports("aten.softmax.int", "aten._softmax.default")
def softmax(call: Call, x: Value, dim: int, dtype: Any = None) -> Value:
    """exp(x) / sum(exp(x)) along an axis."""
    return call.add(Softmax(axis=axis_of(dim, x.type.rank)), call.cast(x, call.type.dtype))


@imports("aten.log_softmax.int", "aten._log_softmax.default")
def log_softmax(call: Call, x: Value, dim: int, dtype: Any = None) -> Value:
    """x - m - log(sum(exp(x - m))) along an axis, m its largest element."""
    axes = (axis_of(dim, x.type.rank),)
    x = call.cast(x, call.type.dtype)
    below = call.add(Sub(), x, call.add(ReduceMax(axes=axes, keepdims=True), x))
    total = call.add(ReduceSum(axes=axes, keepdims=True), call.add(Exp(), below))
    return call.add(Sub(), below, call.add(Log(), total))


@imports("aten.scaled_dot_product_attention.default")
def scaled_dot_product_attention(
    call: Call,
    query: Value,
    key: Value,
    value: Value,
    attn_mask: Value | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Value:
    """softmax(scale * query @ key.T + mask) @ value, scale = 1 / sqrt(width) unless it is given."""
    width = query.type.shape[-1]
    if dropout_p or enable_gqa:
        call.refuse("with enable_gqa" if enable_gqa else "with dropout")
    if not isinstance(width, int):
        call.refuse(f"of a query {query.type}")
    rank, dtype = key.type.rank, query.type.dtype
    scores = call.add(Matmul(), query, call.transpose(key, *range(rank - 2), rank - 1, rank - 2))
    scores = call.add(Mul(), scores, call.constant(width**-0.5 if scale is None else scale, dtype))
    mask = _causal(call, scores, dtype) if is_causal else _additive(call, attn_mask, dtype)
    if mask is not None:
        scores = call.add(Add(), scores, mask)
    return call.add(Matmul(), call.add(Softmax(axis=scores.type.rank - 1), scores), value)


def _causal(call: Call, scores: Value, dtype: DType) -> Value:
    """0 where a column is not after its row, -inf elsewhere."""
    sizes = [dim for dim in scores.type.shape[-2:] if isinstance(dim, int)]
    if len(sizes) != 2:
        call.refuse(f"that is causal over scores {scores.type}")
    return call.constant(np.where(np.tri(sizes[0], sizes[1]) > 0, 0.0, -np.inf), dtype)


def _additive(call: Call, mask: Value | None, dtype: DType) -> Value | None:
    """The mask as what is added to the scores; None where it hides nothing."""
    if mask is None or mask.type.dtype is dtype:
        return mask
    known = _unexpanded(mask)
    if mask.type.dtype is not DType.BOOL or known.data is None:
        call.refuse(f"with a mask {mask.type} that is computed")
    if known.data.all():
        return None
    return call.constant(np.where(known.data, 0.0, -np.inf), dtype)


def _unexpanded(mask: Value) -> Value:
    """What was repeated to make the mask: the sum with the scores repeats it again."""
    while mask.producer is not None and isinstance(mask.producer.op, Expand):
        mask = mask.producer.inputs[0]
    return mask
