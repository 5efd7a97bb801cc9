"""Importers of the operators that ONNX Runtime's optimiser makes of several of ONNX's (domain com.microsoft).

Source: ONNX Runtime's list of contributed operators.
"""

from __future__ import annotations

from itertools import pairwise
from math import sqrt

from alula.core.dtype import DType
from alula.frontends.onnx.call import Call, Result, imports
from alula.frontends.onnx.conv import conv
from alula.frontends.onnx.matmul import gemm, matmul
from alula.frontends.onnx.microsoft import DOMAIN
from alula.ir.graph import Value
from alula.ir.op import Op
from alula.ops import elementwise as ops
from alula.ops.attention import Attention
from alula.ops.matmul import Linear
from alula.ops.norm import LayerNorm
from alula.ops.shape import Slice


@imports(f"{DOMAIN}.Gelu")
def gelu(call: Call, x: Value) -> Value:
    """GELU by the error function."""
    return call.add(ops.Gelu(), x)


@imports(f"{DOMAIN}.BiasGelu")
def bias_gelu(call: Call, x: Value, bias: Value) -> Value:
    """GELU of x + bias by the error function."""
    return call.add(ops.Gelu(), call.add(ops.Add(), x, bias))


@imports(f"{DOMAIN}.FastGelu")
def fast_gelu(call: Call, x: Value, bias: Value | None = None) -> Value:
    """GELU of x + bias by tanh."""
    return call.add(ops.Gelu(approximate="tanh"), x if bias is None else call.add(ops.Add(), x, bias))


@imports(f"{DOMAIN}.QuickGelu")
def quick_gelu(call: Call, x: Value) -> Value:
    """x * sigmoid(alpha * x)."""
    inner = call.add(ops.Mul(), x, call.like(call.get("alpha", 1.702), x))
    return call.add(ops.Mul(), x, call.add(ops.Sigmoid(), inner))


@imports(f"{DOMAIN}.FusedMatMul")
def fused_matmul(call: Call, a: Value, b: Value) -> Value:
    """alpha * a @ b, the last two axes of either perhaps swapped."""
    if call.get("transBatchA", 0) or call.get("transBatchB", 0):
        call.refuse("with turned batches")
    a, b = (_turned(call, x) if call.get(name, 0) else x for x, name in ((a, "transA"), (b, "transB")))
    y, alpha = matmul(call, a, b), call.get("alpha", 1.0)
    return y if alpha == 1 else call.add(ops.Mul(), y, call.like(alpha, y))


def _turned(call: Call, x: Value) -> Value:
    axes = range(x.type.rank)
    return call.transpose(x, *axes[:-2], *axes[-2:][::-1])


@imports(f"{DOMAIN}.FusedGemm")
def fused_gemm(call: Call, a: Value, b: Value, c: Value | None = None) -> Value:
    """A Gemm and the function of its result."""
    parameters = [call.get(f"activation_{name}") for name in ("alpha", "beta", "gamma")]
    return _activated(call, gemm(call, a, b, c), [value for value in parameters if value is not None])


@imports(f"{DOMAIN}.FusedConv")
def fused_conv(call: Call, x: Value, weight: Value, bias: Value | None = None, more: Value | None = None) -> Value:
    """A Conv, what is added to it, and the function of that."""
    y = conv(call, x, weight, bias)
    return _activated(call, y if more is None else call.add(ops.Add(), y, more), call.get("activation_params") or [])


def _activated(call: Call, y: Value, parameters: list[float]) -> Value:
    """The function that an attribute names, with its parameters or their defaults."""
    name = call.get("activation")
    if not name:
        return y
    plain: dict[str, Op] = {"Relu": ops.Relu(), "Sigmoid": ops.Sigmoid(), "Tanh": ops.Tanh()}
    if name in plain and not parameters:
        return call.add(plain[name], y)
    match name, parameters:
        case "LeakyRelu", [*slope] if len(slope) <= 1:
            return call.add(ops.LeakyRelu(slope=slope[0] if slope else 0.01), y)
        case "Clip", [low, high]:
            return call.add(ops.Clip(low=low, high=high), y)
    return call.refuse(f"with activation {name} of {parameters}")


@imports(f"{DOMAIN}.SkipLayerNormalization")
def skip_layer_norm(
    call: Call, x: Value, skip: Value, gamma: Value, beta: Value | None = None, bias: Value | None = None
) -> Result:
    """x + skip + bias, normalised over the last axis; and the sum itself, as the fourth result."""
    if skip.producer is not None and isinstance(skip.producer.op, Linear):
        x, skip = skip, x  # a linear layer's bias it is
    total = call.add(ops.Add(), x if bias is None else call.add(ops.Add(), x, bias), skip)
    shift = call.add(ops.Mul(), gamma, call.like(0, gamma)) if beta is None else beta
    y = call.add(LayerNorm(eps=float(call.get("epsilon", 1e-12))), total, gamma, shift)
    return y, None, None, total


@imports(f"{DOMAIN}.Attention")
def attention(call: Call, x: Value, weight: Value, bias: Value | None = None, *more: Value | None) -> Value:
    """Attention of x[b,n,c] to itself: q, k and v are x @ weight[c,3*h] + bias, one after the other."""
    if any(value is not None for value in more):
        call.refuse("with a mask, a past or a bias of its scores")
    qkv = matmul(call, x, weight)
    qkv = qkv if bias is None else call.add(ops.Add(), qkv, bias)
    widths = call.get("qkv_hidden_sizes") or [_whole(call, qkv) // 3] * 3
    ends = [0, widths[0], widths[0] + widths[1], sum(widths)]
    parts = [call.add(Slice(2, start, end), qkv) for start, end in pairwise(ends)]
    return _attended(call, *parts)


@imports(f"{DOMAIN}.MultiHeadAttention")
def multi_head_attention(
    call: Call, q: Value, k: Value, v: Value, bias: Value | None = None, *more: Value | None
) -> Value:
    """Attention of q[b,n,h] to k[b,m,h] and v[b,m,g], to which a bias[h+h+g] may be added."""
    if any(value is not None for value in more):
        call.refuse("with a mask, a past or a bias of its scores")
    if any(x.type.rank != 3 for x in (q, k, v)):
        call.refuse(f"of {q.type}, {k.type} and {v.type}")
    if bias is None:
        return _attended(call, q, k, v)
    parts, start = [], 0
    for x in (q, k, v):
        end = start + _whole(call, x)
        parts.append(call.add(ops.Add(), x, call.add(Slice(0, start, end), bias)))
        start = end
    return _attended(call, *parts)


def _attended(call: Call, q: Value, k: Value, v: Value) -> Value:
    if call.get("unidirectional", 0):
        call.refuse("of rows that see only those before them")
    call.get("mask_filter_value")  # of masks, which are refused
    heads = call.get("num_heads")
    scale = call.get("scale", 0.0) or 1 / sqrt(_whole(call, q) // heads)
    if q.type.dtype is not DType.F32:
        call.refuse(f"of {q.type.dtype}")
    return call.add(Attention(heads, float(scale)), q, k, v)


def _whole(call: Call, x: Value) -> int:
    last = x.type.shape[-1]
    return last if isinstance(last, int) else call.refuse(f"of {x.type}")
