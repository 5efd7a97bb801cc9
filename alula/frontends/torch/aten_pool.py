"""Importers of pooling.  Channels-last inside, PyTorch's order outside."""

from __future__ import annotations

from alula.frontends.call import channels_first
from alula.frontends.moves import cut
from alula.frontends.torch.aten_conv import Sizes, both_sides
from alula.frontends.torch.aten_reduce import Reduction
from alula.frontends.torch.aten_shape import join
from alula.frontends.torch.call import Call, Result, image, imports, pair
from alula.ir.graph import Value
from alula.ops.pool import AvgPool2d, MaxPool2d
from alula.ops.reduce import ReduceMax, ReduceMean


@imports("aten.max_pool2d.default")
def max_pool2d(
    call: Call,
    x: Value,
    kernel: Sizes,
    stride: Sizes = (),
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Value:
    """Largest element of each window."""
    if pair(dilation) != (1, 1):
        call.refuse(f"with dilation {pair(dilation)}")
    op = MaxPool2d(kernel=pair(kernel), stride=_stride(kernel, stride), pad=both_sides(padding), ceil_mode=ceil_mode)
    return channels_first(call, call.add(op, image(call, x)))


@imports("aten.max_pool2d_with_indices.default")
def max_pool2d_with_indices(
    call: Call,
    x: Value,
    kernel: Sizes,
    stride: Sizes = (),
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
) -> Result:
    """Largest element of each window; not where it is."""
    return max_pool2d(call, x, kernel, stride, padding, dilation, ceil_mode), None


@imports("aten.avg_pool2d.default")
def avg_pool2d(
    call: Call,
    x: Value,
    kernel: Sizes,
    stride: Sizes = (),
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Value:
    """Mean of each window."""
    if divisor_override is not None:
        call.refuse("with divisor_override")
    op = AvgPool2d(
        kernel=pair(kernel),
        stride=_stride(kernel, stride),
        pad=both_sides(padding),
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )
    return channels_first(call, call.add(op, image(call, x)))


def _stride(kernel: Sizes, stride: Sizes) -> tuple[int, int]:
    return pair(kernel if stride == () or stride == [] else stride)


@imports("aten.adaptive_avg_pool2d.default", "aten._adaptive_avg_pool2d.default")
def adaptive_avg_pool2d(call: Call, x: Value, size: Sizes) -> Value:
    """Means over a grid of `size` cells."""
    return _adaptive(call, ReduceMean, AvgPool2d, x)


@imports("aten.adaptive_max_pool2d.default")
def adaptive_max_pool2d(call: Call, x: Value, size: Sizes) -> Result:
    """Largest elements over a grid of `size` cells; not where they are."""
    return _adaptive(call, ReduceMax, MaxPool2d, x), None


def _adaptive(call: Call, reduce: Reduction, pool: type[AvgPool2d] | type[MaxPool2d], x: Value) -> Value:
    """One cell is a reduction, equal cells are a pool, unequal ones are cut out: their borders may overlap."""
    if x.type.rank != 4:
        call.refuse(f"of an input {x.type} without a batch")
    if call.type.shape[2:] == (1, 1):
        return call.add(reduce(axes=(2, 3), keepdims=True), x)
    sizes = [dim for dim in x.type.shape[2:] if isinstance(dim, int)]
    cells = [dim for dim in call.type.shape[2:] if isinstance(dim, int)]
    if len(sizes) != 2 or len(cells) != 2:
        call.refuse(f"of an input {x.type}")
    if all(size % count == 0 for size, count in zip(sizes, cells, strict=True)):
        kernel = (sizes[0] // cells[0], sizes[1] // cells[1])
        return (
            x
            if kernel == (1, 1)
            else channels_first(call, call.add(pool(kernel=kernel, stride=kernel), image(call, x)))
        )
    for axis, size, count in zip((2, 3), sizes, cells, strict=True):
        edges = [(i * size // count, -(-(i + 1) * size // count)) for i in range(count)]
        op = reduce(axes=(axis,), keepdims=True)
        x = join(call, [call.add(op, cut(call, x, axis, start, stop)) for start, stop in edges], axis)
    return x
