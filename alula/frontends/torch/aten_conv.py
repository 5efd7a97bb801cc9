"""Importers of convolutions and of unfolding and folding windows.  Channels-last inside, PyTorch's order outside."""

from __future__ import annotations

from collections.abc import Sequence

from alula.core.dims import quotient
from alula.frontends.call import channels_first
from alula.frontends.torch.call import Call, image, imports, pair
from alula.frontends.transposed import transposed as transposed_convolution
from alula.ir.graph import Value
from alula.ir.types import fixed
from alula.ops import shape as op_shape
from alula.ops.conv import Conv2d
from alula.ops.unfold import Fold, Unfold
from alula.ops.windows import Pad, Pair, dilated, window_counts

Sizes = int | Sequence[int]


def both_sides(padding: Sizes) -> Pad:
    """(top, left, bottom, right) of a padding that is equal on both sides."""
    height, width = pair(padding)
    return height, width, height, width


@imports("aten.conv2d.default")
def conv2d(
    call: Call,
    x: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Value:
    """x[n,c,h,w] convolved with weight[o,c/groups,kh,kw]."""
    return _convolved(call, x, weight, bias, stride, both_sides(padding), dilation, groups)


@imports("aten.conv2d.padding")
def conv2d_named_padding(
    call: Call,
    x: Value,
    weight: Value,
    bias: Value | None = None,
    stride: Sizes = 1,
    padding: str = "valid",
    dilation: Sizes = 1,
    groups: int = 1,
) -> Value:
    """The same with the padding `valid`, none, or `same`, which keeps height and width; the odd one goes after."""
    pad = (0, 0, 0, 0)
    if padding == "same":
        height, width = (edge - 1 for edge in dilated(_kernel(weight), pair(dilation)))
        pad = (height // 2, width // 2, height - height // 2, width - width // 2)
    return _convolved(call, x, weight, bias, stride, pad, dilation, groups)


@imports("aten.convolution.default", "aten._convolution.default")
def convolution(
    call: Call,
    x: Value,
    weight: Value,
    bias: Value | None,
    stride: Sizes,
    padding: Sizes,
    dilation: Sizes,
    transposed: bool,
    output_padding: Sizes,
    groups: int,
    *_: bool,
) -> Value:
    """The general form, over two axes; traces add which library may compute it."""
    if weight.type.rank != 4:
        call.refuse(f"with a weight {weight.type}")
    if transposed:
        return _transposed(call, x, weight, bias, stride, both_sides(padding), dilation, groups)
    return _convolved(call, x, weight, bias, stride, both_sides(padding), dilation, groups)


def _convolved(
    call: Call, x: Value, weight: Value, bias: Value | None, stride: Sizes, pad: Pad, dilation: Sizes, groups: int
) -> Value:
    x, pad = _padded(call, image(call, x), _kernel(weight), pad, dilation)
    op = Conv2d(stride=pair(stride), pad=pad, dilation=pair(dilation), groups=groups)
    operands = (x, call.transpose(weight, 0, 2, 3, 1), *([] if bias is None else [bias]))
    return channels_first(call, call.add(op, *operands))


def _transposed(
    call: Call, x: Value, weight: Value, bias: Value | None, stride: Sizes, pad: Pad, dilation: Sizes, groups: int
) -> Value:
    """weight[c,o/groups,kh,kw]; PyTorch has worked out the result's size, with what is added after the last window."""
    height, width = (fixed(dim, "size") for dim in call.type.shape[2:])
    window = {"stride": pair(stride), "dilation": pair(dilation)}
    y = transposed_convolution(call, image(call, x), weight, bias, groups, size=(height, width), pad=pad, **window)
    return channels_first(call, y)


def _kernel(weight: Value) -> Pair:
    """Height and width of weight[o,c/groups,kh,kw]."""
    *_, height, width = weight.type.dims("OCHW")
    return fixed(height, "kernel"), fixed(width, "kernel")


def _padded(call: Call, x: Value, kernel: Pair, pad: Pad, dilation: Sizes) -> tuple[Value, Pad]:
    """x[n,h,w,c] and its padding; as wide as a window it becomes a node, for our windows never lie in padding alone."""
    reach = dilated(kernel, pair(dilation))
    if all(edge < reach[i % 2] for i, edge in enumerate(pad)):
        return x, pad
    top, left, bottom, right = pad
    return call.add(op_shape.Pad(before=(0, top, left, 0), after=(0, bottom, right, 0)), x), (0, 0, 0, 0)


@imports("aten.im2col.default")
def unfold(call: Call, x: Value, kernel: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes) -> Value:
    """y[n,c*kh*kw,windows] of x[n,c,h,w]: every window's elements, channel by channel."""
    x, pad = _padded(call, image(call, x), pair(kernel), both_sides(padding), dilation)
    windows = call.add(Unfold(kernel=pair(kernel), stride=pair(stride), pad=pad, dilation=pair(dilation)), x)
    return call.reshape(call.transpose(windows, 0, 4, 3, 1, 2), *call.type.shape)


@imports("aten.col2im.default")
def fold(call: Call, x: Value, size: Sizes, kernel: Sizes, dilation: Sizes, padding: Sizes, stride: Sizes) -> Value:
    """y[n,c,h,w] of x[n,c*kh*kw,windows]: every window added back where it came from."""
    if x.type.rank != 3:
        call.refuse(f"of an input {x.type} without a batch")
    op = Fold(
        size=pair(size), kernel=pair(kernel), stride=pair(stride), pad=both_sides(padding), dilation=pair(dilation)
    )
    counts = window_counts(*op.size, op.kernel, op.stride, op.pad, op.dilation)
    batch, mixed, _ = x.type.shape
    spots = op.kernel[0] * op.kernel[1]
    apart = call.reshape(x, batch, quotient(mixed, spots), spots, *counts)
    return channels_first(call, call.add(op, call.transpose(apart, 0, 3, 4, 2, 1)))
