"""Importers of pooling.  Channels-last inside, ONNX's order outside."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np

from alula.core.dims import Dim
from alula.core.dtype import DType
from alula.frontends.call import channels_first, channels_last
from alula.frontends.onnx.call import Call, Result, imports
from alula.frontends.onnx.conv import from_image, image, padding
from alula.frontends.onnx.indexing import places_of
from alula.ir.graph import Value
from alula.ir.types import fixed
from alula.ops import elementwise as ops
from alula.ops.gather import Gather, Scatter
from alula.ops.pool import AvgPool2d, MaxPool2d
from alula.ops.reduce import ReduceMax, ReduceMean, ReduceSum
from alula.ops.shape import Expand
from alula.ops.shape import Pad as PadOp
from alula.ops.unfold import Unfold
from alula.ops.windows import Pad, Pair, dilated

LOWEST = float("-inf")
MOST_ELEMENTS = 1 << 31


@dataclass(frozen=True, slots=True)
class _Axis:
    """How windows run along one axis."""

    size: Dim
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    before: int = 0
    after: int = 0


@dataclass(frozen=True, slots=True)
class _Windows:
    """How windows run along two axes, and whether the last ones may hang over."""

    axes: tuple[_Axis, _Axis]
    ceil: bool

    def _pair(self, field: str) -> Pair:
        return getattr(self.axes[0], field), getattr(self.axes[1], field)

    @property
    def kernel(self) -> Pair:
        return self._pair("kernel")

    @property
    def stride(self) -> Pair:
        return self._pair("stride")

    @property
    def dilation(self) -> Pair:
        return self._pair("dilation")

    @property
    def pad(self) -> Pad:
        return *self._pair("before"), *self._pair("after")

    @property
    def reach(self) -> Pair:
        return dilated(self.kernel, self.dilation)

    @property
    def plain(self) -> bool:
        """True where the windows are those of our pools: not dilated, none of them in padding alone."""
        return self.dilation == (1, 1) and all(0 <= edge < self.reach[i % 2] for i, edge in enumerate(self.pad))

    @property
    def unfold(self) -> Unfold:
        """Its windows of what is padded."""
        return Unfold(kernel=self.kernel, stride=self.stride, pad=(0, 0, 0, 0), dilation=self.dilation)

    def overhang(self, call: Call) -> Pair:
        """Rows and columns beyond the padding that the last windows of ceil_mode reach."""
        if not self.ceil:
            return 0, 0
        beyond = []
        for axis, reach in zip(self.axes, self.reach, strict=True):
            if not isinstance(axis.size, int):
                call.refuse(f"with ceil_mode of size {axis.size}")
            whole = axis.size + axis.before + axis.after
            count = -(-(whole - reach) // axis.stride) + 1
            if (count - 1) * axis.stride >= axis.size + axis.before:
                count -= 1  # it would start in the padding at the end
            beyond.append(max(0, (count - 1) * axis.stride + reach - whole))
        return beyond[0], beyond[1]


def _axes(call: Call, x: Value) -> tuple[list[_Axis], bool]:
    """The windows along every axis after batch and channels, and whether the last ones may hang over."""
    sizes, rank = x.type.shape[2:], x.type.rank - 2
    if not 1 <= rank <= 3:
        call.refuse(f"of an input {x.type}")
    kernel = call.get("kernel_shape", None)
    if not kernel:
        call.refuse("without a kernel_shape")
    stride, dilation = (call.get(name, None) or [1] * rank for name in ("strides", "dilations"))
    if any(len(edges) != rank for edges in (kernel, stride, dilation)):
        call.refuse(f"with a kernel of {kernel!r:.60} for {rank} axes")
    if any(not 1 <= edge < 1 << 20 for edge in (*kernel, *stride, *dilation)):
        call.refuse(f"with a kernel of {kernel}, strides {stride}, dilations {dilation}")
    sides = padding(call, sizes, kernel, stride, dilation)
    ceil = bool(call.get("ceil_mode", 0)) and call.get("auto_pad", "NOTSET") in ("NOTSET", "")
    axes = zip(sizes, kernel, stride, dilation, sides, strict=True)
    return [_Axis(size, k, s, d, *side) for size, k, s, d, side in axes], ceil


def _pooled(call: Call, x: Value, pool: Callable[[Value, _Windows], Value]) -> Value:
    """`pool` of x[n,h,w,c] over all axes: over two at once, and over the first of three by itself."""
    axes, ceil = _axes(call, x)
    if len(axes) < 3:
        first, second = axes if len(axes) == 2 else (_Axis(1), axes[0])
        return from_image(call, pool(image(call, x), _Windows((first, second), ceil)), len(axes))
    deep = channels_last(call, x)
    n, depth, h, w, c = deep.type.shape
    planes = pool(call.reshape(deep, n * depth, h, w, c), _Windows((axes[1], axes[2]), ceil))
    _, oh, ow, _ = planes.type.shape
    y = pool(call.reshape(planes, n, depth, oh * ow, c), _Windows((axes[0], _Axis(oh * ow)), ceil))
    return channels_first(call, call.reshape(y, n, y.type.shape[1], oh, ow, c))


@imports("MaxPool")
def max_pool(call: Call, x: Value) -> Result:
    """Largest element of each window, and where it is in x."""
    down = call.get("storage_order", 0)
    y = _pooled(call, x, partial(_largest, call))
    return y if call.results == 1 else (y, _where_largest(call, x, columns_first=bool(down)))


def _largest(call: Call, x: Value, w: _Windows) -> Value:
    if w.plain:
        return call.add(MaxPool2d(kernel=w.kernel, stride=w.stride, pad=w.pad, ceil_mode=w.ceil), x)
    return call.add(ReduceMax(axes=(3,)), call.add(w.unfold, _padded(call, x, w.pad, w.overhang(call), LOWEST)))


def _where_largest(call: Call, x: Value, *, columns_first: bool) -> Value:
    """The places of the largest elements in x as one row, or in x with its last axes swapped."""
    axes, ceil = _axes(call, x)
    n, c, *sizes = (fixed(dim, "size") for dim in x.type.shape)
    if len(axes) > 2:
        call.refuse("with its result 1 of three axes")
    first, second = axes if len(axes) == 2 else (_Axis(1), axes[0])
    w = _Windows((first, second), ceil)
    windows = call.add(w.unfold, _padded(call, image(call, x), w.pad, w.overhang(call), LOWEST))
    _, oh, ow, _, _ = (fixed(dim, "size") for dim in windows.type.shape)
    h, width = (1, *sizes)[-2:]
    steps = (1, h) if columns_first else (width, 1)
    inside, around = np.indices(w.kernel), np.indices((oh, ow))
    table = sum(inside[i] * w.dilation[i] * steps[i] for i in (0, 1)).reshape(-1)
    start = sum((around[i] * w.stride[i] - w.pad[i]) * steps[i] for i in (0, 1)).reshape(1, oh, ow, 1)
    images = np.arange(n * c).reshape(n, 1, 1, c) * h * width
    spots = call.cast(call.reshape(places_of(call, windows, 3), n, oh, ow, c), DType.I64)
    found = call.add(Gather(axis=0), call.constant(table, DType.I64), spots)
    return from_image(call, call.add(ops.Add(), found, call.constant(start + images, DType.I64)), len(axes))


@imports("MaxUnpool")
def max_unpool(call: Call, x: Value, places: Value, shape: Value | None = None) -> Value:
    """The elements where they were before a MaxPool, zeros elsewhere."""
    axes, _ = _axes(call, x)
    n, c, *sizes = (fixed(dim, "size") for dim in x.type.shape)
    edges = [(s - 1) * a.stride + a.kernel - a.before - a.after for s, a in zip(sizes, axes, strict=True)]
    whole = [n, c, *edges]
    if shape is not None and call.ints(shape, "a shape") != whole:
        call.refuse(f"to another shape than {whole!r:.60}")  # ONNX and its runtime disagree about the places then
    if any(edge < 1 for edge in whole) or prod(whole) > MOST_ELEMENTS:
        call.refuse(f"to {whole!r:.60}")
    zeros = call.add(Expand(shape=(prod(whole),)), call.like(0, x))
    count = prod((n, c, *sizes))
    y = call.add(Scatter(axis=0), zeros, call.reshape(places, count), call.reshape(x, count))
    return call.reshape(y, *whole)


def _padded(call: Call, x: Value, pad: Pad, beyond: Pair, value: float) -> Value:
    top, left, bottom, right = pad
    before, after = (0, top, left, 0), (0, bottom + beyond[0], right + beyond[1], 0)
    return call.add(PadOp(before=before, after=after, value=value), x) if any(before + after) else x


@imports("AveragePool")
def average_pool(call: Call, x: Value) -> Value:
    """Mean of each window; padding counts where it is asked for, what overhangs it never."""
    counted = bool(call.get("count_include_pad", 0))
    return _pooled(call, x, partial(_mean, call, counted))


def _mean(call: Call, counted: bool, x: Value, w: _Windows) -> Value:
    if w.plain:
        op = AvgPool2d(kernel=w.kernel, stride=w.stride, pad=w.pad, ceil_mode=w.ceil, count_include_pad=counted)
        return call.add(op, x)
    _, h, width, _ = x.type.shape
    if not isinstance(h, int) or not isinstance(width, int):
        call.refuse(f"with dilations of an input {x.type}")
    sums = _sum(call, x, w)
    ones = _padded(call, call.constant([[[[1.0]] * width] * h], x.type.dtype), w.pad, (0, 0), float(counted))
    counts = call.add(ReduceSum(axes=(3,)), call.add(w.unfold, _padded(call, ones, (0, 0, 0, 0), w.overhang(call), 0)))
    return call.add(ops.Div(), sums, counts)


def _sum(call: Call, x: Value, w: _Windows) -> Value:
    """The sum of each window; padding is zero."""
    return call.add(ReduceSum(axes=(3,)), call.add(w.unfold, _padded(call, x, w.pad, w.overhang(call), 0.0)))


@imports("LpPool")
def lp_pool(call: Call, x: Value) -> Value:
    """The p-norm of each window; padding is zero."""
    p = call.get("p", 2)
    if p < 1:
        call.refuse(f"of order {p}")
    sizes = call.add(ops.Abs(), x)
    if p != 1:
        sizes = call.add(ops.Mul(), sizes, sizes) if p == 2 else call.add(ops.Pow(), sizes, call.like(p, x))
    total = _pooled(call, sizes, partial(_sum, call))
    if p == 1:
        return total
    return call.add(ops.Sqrt(), total) if p == 2 else call.add(ops.Pow(), total, call.like(1 / p, x))


def _global(call: Call, x: Value) -> tuple[int, ...]:
    if x.type.rank < 3:
        call.refuse(f"of an input {x.type}")
    return tuple(range(2, x.type.rank))


@imports("GlobalAveragePool")
def global_average_pool(call: Call, x: Value) -> Value:
    """Mean over all axes after batch and channels."""
    return call.add(ReduceMean(axes=_global(call, x), keepdims=True), x)


@imports("GlobalMaxPool")
def global_max_pool(call: Call, x: Value) -> Value:
    """Largest element over all axes after batch and channels."""
    return call.add(ReduceMax(axes=_global(call, x), keepdims=True), x)


@imports("GlobalLpPool")
def global_lp_pool(call: Call, x: Value) -> Value:
    """The p-norm over all axes after batch and channels."""
    if call.get("p", 2) != 2:
        call.refuse(f"of order {call.get('p')}")
    squares = call.add(ops.Mul(), x, x)
    return call.add(ops.Sqrt(), call.add(ReduceSum(axes=_global(call, x), keepdims=True), squares))


@imports("LRN")
def local_response_normalisation(call: Call, x: Value) -> Value:
    """x / (bias + alpha / size * sum of squares of the channels around)^beta."""
    alpha, beta, bias = call.get("alpha", 1e-4), call.get("beta", 0.75), call.get("bias", 1.0)
    size = call.get("size", 0)
    n, c, *rest = x.type.shape
    if size < 1 or not isinstance(c, int):
        call.refuse(f"of size {size} over {c} channels")
    pixels: Dim = 1
    for dim in rest:
        pixels = pixels * dim
    lines = call.reshape(call.add(ops.Mul(), x, x), n, c, 1, pixels)  # channels down, pixels as channels
    pad: Pad = ((size - 1) // 2, 0, size - 1 - (size - 1) // 2, 0)
    mean = call.add(AvgPool2d(kernel=(size, 1), stride=(1, 1), pad=pad), lines)
    scaled = call.add(ops.Add(), call.add(ops.Mul(), mean, call.like(alpha, x)), call.like(bias, x))
    power = call.add(ops.Pow(), call.reshape(scaled, *x.type.shape), call.like(beta, x))
    return call.add(ops.Div(), x, power)
