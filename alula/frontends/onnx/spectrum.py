"""Importers of Fourier transforms: each is linear, so a product with a matrix."""

from __future__ import annotations

import numpy as np

from alula.core.dtype import Array
from alula.frontends.call import last_axis_back, last_axis_of
from alula.frontends.moves import cut
from alula.frontends.onnx.call import Call, axis_of, imports
from alula.ir.graph import Value
from alula.ops.matmul import Linear

LARGEST = 1 << 24  # elements of a matrix


@imports("DFT")
def dft(call: Call, x: Value, length: Value | None = None, axis: Value | None = None) -> Value:
    """The discrete Fourier transform along an axis of x, whose last axis holds a number or its two parts."""
    rank, parts = x.type.rank, x.type.shape[-1] if x.type.rank > 1 else 0
    given = call.get("axis", 1) if call.opset < 20 else -2
    place = axis_of(call, given if axis is None else int(call.number(axis, "an axis")), rank)
    inverse, onesided = bool(call.get("inverse", 0)), bool(call.get("onesided", 0))
    size = x.type.shape[place]
    if not isinstance(parts, int) or parts not in (1, 2) or place == rank - 1 or not isinstance(size, int):
        call.refuse(f"of an input {x.type} along axis {place}")
    halved = onesided and inverse
    count = 2 * (size - 1) if halved else size
    if length is not None:
        count = int(call.number(length, "a length"))
    if not 1 <= count * max(size, 1) * 4 <= LARGEST or (onesided and not inverse and parts == 2):
        call.refuse(f"of {size} elements to {count}")
    used = min(size, count // 2 + 1 if halved else count)
    last = last_axis_of(call, cut(call, x, place, 0, used), place)  # [..., parts, used]
    flat = call.reshape(last, *last.type.shape[:-2], parts * used)
    matrix = _matrix(used, parts, count, inverse=inverse, onesided=onesided)
    y = call.add(Linear(), flat, call.constant(matrix, x.type.dtype))
    outs = 1 if halved else 2
    return last_axis_back(call, call.reshape(y, *last.type.shape[:-2], outs, matrix.shape[0] // outs), place)


def _matrix(used: int, parts: int, count: int, *, inverse: bool, onesided: bool) -> Array:
    """What the transform makes of each element by itself: [results' parts and elements, x's parts and elements]."""
    units = np.concatenate([np.eye(used), 1j * np.eye(used)][:parts])
    if not inverse:
        made = np.fft.fft(units, count)
        made = made[:, : count // 2 + 1] if onesided else made
    elif onesided:
        return np.asarray(np.fft.irfft(units, count).T)
    else:
        made = np.fft.ifft(units, count)
    return np.concatenate([made.real, made.imag], 1).T
