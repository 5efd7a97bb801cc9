"""Importers of normalisation, in the forms it has outside training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alula.core.dims import Dim, product, quotient
from alula.core.dtype import DType
from alula.frontends.call import channels_first, channels_last
from alula.frontends.onnx.call import Call, Result, axis_of, imports
from alula.frontends.onnx.reduce import reduced
from alula.ir.graph import Value
from alula.ops import elementwise as ops
from alula.ops.norm import BatchNorm, LayerNorm
from alula.ops.reduce import ReduceMax, ReduceMean, ReduceSum
from alula.ops.softmax import Softmax


@imports("BatchNormalization")
def batch_norm(call: Call, x: Value, scale: Value, bias: Value, mean: Value, variance: Value) -> Result:
    """(x - mean) / sqrt(variance + eps) * scale + bias, channel by channel, of x[n,c,...].

    In training it takes the statistics of x, and gives the running ones with their share of them.
    """
    momentum, training = call.get("momentum", 0.9), bool(call.get("training_mode", 0))
    if not call.get("spatial", 1):
        call.refuse("without spatial statistics")
    if call.results > 1 and not training:
        call.refuse("with results of training")
    op = BatchNorm(eps=float(call.get("epsilon", 1e-5)))
    last = channels_last(call, x) if x.type.rank > 2 else x
    given = mean, variance
    if training:
        axes = tuple(range(last.type.rank - 1))
        mean = call.add(ReduceMean(axes=axes), last)
        away = call.add(ops.Sub(), last, mean)
        variance = call.add(ReduceMean(axes=axes), call.add(ops.Mul(), away, away))
    normal = call.add(op, last, scale, bias, *(call.cast(v, x.type.dtype) for v in (mean, variance)))
    y = channels_first(call, normal) if x.type.rank > 2 else normal
    if not training:
        return y
    kept = [call.add(ops.Mul(), old, call.like(momentum, old)) for old in given]
    new = [call.cast(v, old.type.dtype) for v, old in zip((mean, variance), given, strict=True)]
    shares = [call.add(ops.Mul(), v, call.like(1 - momentum, v)) for v in new]
    return y, *(call.add(ops.Add(), a, b) for a, b in zip(kept, shares, strict=True))


@imports("LayerNormalization")
def layer_norm(call: Call, x: Value, scale: Value, bias: Value | None = None) -> Result:
    """x normalised over its axes from `axis` on."""
    axis = axis_of(call, call.get("axis", -1), x.type.rank)
    call.get("stash_type", 1)  # float32 is what we compute with at least
    eps, shape = float(call.get("epsilon", 1e-5)), x.type.shape[axis:]
    width = product(shape)
    flat = call.reshape(x, *x.type.shape[:axis], width)
    inside = scale.type.elements == width and (bias is None or bias.type.elements == width)
    gamma, beta = _affine(call, x.type.dtype, scale if inside else None, bias if inside else None, width)
    y = call.reshape(call.add(LayerNorm(eps=eps), flat, gamma, beta), *x.type.shape)
    y = y if inside else _scaled(call, y, scale, bias)
    if call.results == 1:
        return y
    axes, wide = tuple(range(axis, x.type.rank)), call.cast(x, DType.F32)
    mean = call.add(ReduceMean(axes=axes, keepdims=True), wide)
    centred = call.add(ops.Sub(), wide, mean)
    variance = call.add(ReduceMean(axes=axes, keepdims=True), call.add(ops.Mul(), centred, centred))
    return y, mean, call.add(ops.Rsqrt(), call.add(ops.Add(), variance, call.like(eps, variance)))


def _scaled(call: Call, y: Value, scale: Value | None, bias: Value | None) -> Value:
    y = y if scale is None else call.add(ops.Mul(), y, scale)
    return y if bias is None else call.add(ops.Add(), y, bias)


def _affine(call: Call, dtype: DType, weight: Value | None, bias: Value | None, width: Dim) -> tuple[Value, Value]:
    """Weight and bias of `width` elements: ones and zeros for those that are not there."""
    if not isinstance(width, int):
        call.refuse("over the batch")
    if width > 1 << 24:
        call.refuse(f"over {width} elements")
    return (
        call.constant(np.ones(width), dtype) if weight is None else call.reshape(weight, width),
        call.constant(np.zeros(width), dtype) if bias is None else call.reshape(bias, width),
    )


@imports("RMSNormalization")
def rms_norm(call: Call, x: Value, scale: Value) -> Value:
    """x / sqrt(mean(x^2) + eps) * scale over the axes from `axis` on."""
    axis = axis_of(call, call.get("axis", -1), x.type.rank)
    call.get("stash_type", 1)
    squares = call.add(ReduceMean(axes=tuple(range(axis, x.type.rank)), keepdims=True), call.add(ops.Mul(), x, x))
    spread = call.add(ops.Add(), squares, call.like(call.get("epsilon", 1e-5), x))
    return call.add(ops.Mul(), call.add(ops.Mul(), x, call.add(ops.Rsqrt(), spread)), scale)


@imports("GroupNormalization")
def group_norm(call: Call, x: Value, scale: Value, bias: Value) -> Value:
    """x[n,c,...] normalised over each of `num_groups` groups of channels, then scaled and shifted."""
    groups = call.get("num_groups", 0)
    call.get("stash_type", 1)
    batch, channels, *spatial = x.type.shape
    if groups < 1 or not isinstance(channels, int) or channels % groups:
        call.refuse(f"of {channels} channels in {groups} groups")
    y = _by_groups(call, x, groups, float(call.get("epsilon", 1e-5)))
    if call.opset < 21 and scale.type.shape == (groups,):  # then scale and bias were one for each group
        y = call.reshape(y, batch, groups, quotient(channels, groups) * product(spatial))
        y = _scaled(call, y, call.reshape(scale, groups, 1), call.reshape(bias, groups, 1))
        return call.reshape(y, *x.type.shape)
    rows = (channels, *[1] * len(spatial))
    return _scaled(call, y, call.reshape(scale, *rows), call.reshape(bias, *rows))


def _by_groups(call: Call, x: Value, groups: int, eps: float) -> Value:
    batch, channels, *spatial = x.type.shape
    width = quotient(channels, groups) * product(spatial)
    gamma, beta = _affine(call, x.type.dtype, None, None, width)
    flat = call.reshape(x, batch, groups, width)
    return call.reshape(call.add(LayerNorm(eps=eps), flat, gamma, beta), *x.type.shape)


@imports("InstanceNormalization")
def instance_norm(call: Call, x: Value, scale: Value, bias: Value) -> Value:
    """x[n,c,...] normalised channel by channel, then scaled and shifted."""
    channels, rest = x.type.shape[1], x.type.rank - 2
    if not isinstance(channels, int):
        call.refuse(f"of an input {x.type}")
    y = _by_groups(call, x, channels, float(call.get("epsilon", 1e-5)))
    return _scaled(call, y, *(call.reshape(v, channels, *[1] * rest) for v in (scale, bias)))


@imports("MeanVarianceNormalization")
def mean_variance(call: Call, x: Value) -> Value:
    """(x - mean) / sqrt(variance) over axes, with ONNX's 1e-9 beside the deviation."""
    axes = call.get("axes", None) or [0, 2, 3]
    mean = reduced(call, ReduceMean, x, axes, True)
    centred = call.add(ops.Sub(), x, mean)
    variance = reduced(call, ReduceMean, call.add(ops.Mul(), centred, centred), axes, True)
    deviation = call.add(ops.Add(), call.add(ops.Sqrt(), variance), call.like(1e-9, x))
    return call.add(ops.Div(), centred, deviation)


@imports("LpNormalization")
def lp_norm(call: Call, x: Value) -> Value:
    """x / its p-norm along an axis; 0 where the norm is 0."""
    axis, p = axis_of(call, call.get("axis", -1), x.type.rank), call.get("p", 2)
    if p not in (1, 2):
        call.refuse(f"of order {p}")
    powers = call.add(ops.Abs(), x) if p == 1 else call.add(ops.Mul(), x, x)
    total = call.add(ReduceSum(axes=(axis,), keepdims=True), powers)
    norm = total if p == 1 else call.add(ops.Sqrt(), total)
    return call.add(ops.Div(), x, call.add(ops.Maximum(), norm, call.like(1e-37, x)))


@imports("Softmax")
def softmax(call: Call, x: Value) -> Value:
    """exp(x) / sum(exp(x)) along an axis; before opset 13 over all axes from it on.

    From opset 13 on ONNX defines it by a function.  Of float16, the roundings between that function's operators are
    part of the meaning: they are what the precision of the softmax in an Attention is.
    """
    flat, axis, shape = _softmax_rows(call, x)
    if call.opset < 13 or x.type.dtype is not DType.F16:
        return call.reshape(call.add(Softmax(axis=axis), flat), *shape)
    below = call.add(ops.Sub(), flat, call.add(ReduceMax(axes=(axis,), keepdims=True), flat))
    powers = call.add(ops.Exp(), below)
    return call.add(ops.Div(), powers, call.add(ReduceSum(axes=(axis,), keepdims=True), powers))


def _softmax_rows(call: Call, x: Value) -> tuple[Value, int, Sequence[Dim]]:
    """x, the axis to go along, and the shape of the result."""
    rank, shape = x.type.rank, x.type.shape
    if x.type.dtype is DType.BF16:
        call.refuse("of bf16, whose sum depends on the order of its terms: export in float32, build in bfloat16")
    if call.opset >= 13:
        return x, axis_of(call, call.get("axis", -1), rank), shape
    axis = call.get("axis", 1)
    axis = axis + rank if axis < 0 else axis
    if not 0 <= axis <= rank:
        call.refuse(f"with axis {axis} of rank {rank}")
    kept = shape[:axis]
    return call.reshape(x, *kept, product(shape[axis:])), axis, shape


@imports("LogSoftmax")
def log_softmax(call: Call, x: Value) -> Value:
    """x - m - log(sum(exp(x - m))) along an axis, m its largest element."""
    flat, axis, shape = _softmax_rows(call, x)
    below = call.add(ops.Sub(), flat, call.add(ReduceMax(axes=(axis,), keepdims=True), flat))
    total = call.add(ReduceSum(axes=(axis,), keepdims=True), call.add(ops.Exp(), below))
    return call.reshape(call.add(ops.Sub(), below, call.add(ops.Log(), total)), *shape)
