"""Importers of normalisation, in the forms it has outside training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from alula.core.dims import Dim, product, quotient
from alula.frontends.call import channels_first, channels_last
from alula.frontends.torch.call import Call, Result, imports
from alula.ir.graph import Value
from alula.ops.elementwise import Add, Mul
from alula.ops.norm import BatchNorm, LayerNorm

NO_STATISTICS = (None, None)  # PyTorch's further results, which only training uses


@imports("aten._native_batch_norm_legit_no_training.default")
def batch_norm(
    call: Call,
    x: Value,
    weight: Value | None,
    bias: Value | None,
    mean: Value,
    variance: Value,
    momentum: float,
    eps: float,
) -> Result:
    """(x - mean) / sqrt(variance + eps) * weight + bias, channel by channel, of x[n,c,...]."""
    gamma, beta = _affine(call, weight, bias, x.type.shape[1])
    if x.type.rank == 2:
        return call.add(BatchNorm(eps=eps), x, gamma, beta, mean, variance), *NO_STATISTICS
    y = call.add(BatchNorm(eps=eps), channels_last(call, x), gamma, beta, mean, variance)
    return channels_first(call, y), *NO_STATISTICS


@imports("aten.layer_norm.default")
def layer_norm(
    call: Call,
    x: Value,
    shape: Sequence[int],
    weight: Value | None = None,
    bias: Value | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Value:
    """x normalised over its last len(shape) axes."""
    width = product(shape)
    gamma, beta = _affine(call, weight, bias, width)
    flat = call.reshape(x, *x.type.shape[: x.type.rank - len(shape)], width)
    return call.reshape(call.add(LayerNorm(eps=eps), flat, gamma, beta), *x.type.shape)


@imports("aten.native_layer_norm.default")
def native_layer_norm(
    call: Call, x: Value, shape: Sequence[int], weight: Value | None, bias: Value | None, eps: float
) -> Result:
    """The same with PyTorch's further results, which we do not give."""
    return layer_norm(call, x, shape, weight, bias, eps), *NO_STATISTICS


@imports("aten.group_norm.default")
def group_norm(
    call: Call,
    x: Value,
    groups: int,
    weight: Value | None = None,
    bias: Value | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Value:
    """x[n,c,...] normalised over each of `groups` groups of channels, then scaled and shifted channel by channel."""
    batch, channels, *spatial = x.type.shape
    width = quotient(channels, groups) * product(spatial)
    gamma, beta = _affine(call, None, None, width)
    flat = call.add(LayerNorm(eps=eps), call.reshape(x, batch, groups, width), gamma, beta)
    y = call.reshape(flat, *x.type.shape)
    for op, operand in ((Mul(), weight), (Add(), bias)):
        if operand is not None:
            y = call.add(op, y, call.reshape(operand, channels, *[1] * len(spatial)))
    return y


def _affine(call: Call, weight: Value | None, bias: Value | None, width: Dim) -> tuple[Value, Value]:
    """Weight and bias of `width` elements: ones and zeros for those that are not there."""
    if not isinstance(width, int):
        call.refuse("over the batch")
    ones, zeros = np.ones(width, np.float32), np.zeros(width, np.float32)
    return (
        call.graph.constant(ones) if weight is None else call.reshape(weight, width),
        call.graph.constant(zeros) if bias is None else call.reshape(bias, width),
    )
