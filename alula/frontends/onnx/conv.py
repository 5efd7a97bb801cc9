"""Importers of convolutions and of folding windows.  Channels-last inside, ONNX's order outside."""

from __future__ import annotations

from collections.abc import Sequence

from alula.core.dims import Dim, quotient
from alula.frontends.call import channels_first, channels_last
from alula.frontends.moves import cut
from alula.frontends.onnx.call import Call, imports
from alula.frontends.transposed import folded, transposed
from alula.ir.graph import Value
from alula.ir.types import fixed
from alula.ops import shape as op_shape
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Add
from alula.ops.matmul import Matmul
from alula.ops.shape import Concat
from alula.ops.unfold import Unfold
from alula.ops.windows import Pad, Pair, dilated, window_counts


def two(call: Call, values: Sequence[int] | None, default: int, rank: int) -> Pair:
    """An attribute of one or two axes, as of two: a single axis is the width."""
    given = list(values) if values else [default] * rank
    if len(given) != rank:
        call.refuse(f"with {given!r:.60} for {rank} axes")
    return (default, given[0]) if rank == 1 else (given[0], given[1])


def padding(
    call: Call, sizes: Sequence[Dim], kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> list[tuple[int, int]]:
    """(before, after) of every axis, as `pads` or `auto_pad` say."""
    mode, pads = call.get("auto_pad", "NOTSET"), call.get("pads", None)
    rank = len(sizes)
    if mode in ("NOTSET", ""):
        given = pads or [0] * (2 * rank)
        if len(given) != 2 * rank:
            call.refuse(f"with pads {given!r:.60}")
        return list(zip(given[:rank], given[rank:], strict=True))
    if mode == "VALID":
        return [(0, 0)] * rank
    if mode not in ("SAME_UPPER", "SAME_LOWER"):
        call.refuse(f"with auto_pad {mode!r:.40}")
    sides = []
    for size, k, s, d in zip(sizes, kernel, stride, dilation, strict=True):
        if not isinstance(size, int) or s < 1:
            call.refuse(f"with auto_pad of size {size} by {s}")
        total = max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
        less = total // 2
        sides.append((less, total - less) if mode == "SAME_UPPER" else (total - less, less))
    return sides


def spatial_rank(call: Call, x: Value) -> int:
    """1 or 2 axes after batch and channels."""
    if x.type.rank not in (3, 4):
        call.refuse(f"of an input {x.type}")
    return x.type.rank - 2


def image(call: Call, x: Value) -> Value:
    """x[n,c,w] or x[n,c,h,w] as y[n,h,w,c]."""
    if x.type.rank == 3:
        n, c, w = x.type.shape
        x = call.reshape(x, n, c, 1, w)
    return channels_last(call, x)


def from_image(call: Call, y: Value, rank: int) -> Value:
    """y[n,h,w,c] in ONNX's order, without a height where there was none."""
    y = channels_first(call, y)
    if rank == 1:
        n, c, _, w = y.type.shape
        y = call.reshape(y, n, c, w)
    return y


def pad_of(sides: Sequence[tuple[int, int]]) -> Pad:
    """(top, left, bottom, right)."""
    (top, bottom), (left, right) = [(0, 0), *sides] if len(sides) == 1 else sides
    return top, left, bottom, right


def padded(call: Call, x: Value, kernel: Pair, pad: Pad, dilation: Pair, value: float = 0.0) -> tuple[Value, Pad]:
    """x[n,h,w,c] and its padding; as wide as a window it becomes a node, for our windows never lie in padding alone."""
    reach = dilated(kernel, dilation)
    if all(0 <= edge < reach[i % 2] for i, edge in enumerate(pad)):
        return x, pad
    top, left, bottom, right = pad
    sides = [(0, 0), (top, bottom), (left, right), (0, 0)]
    for axis, (before, after) in enumerate(sides):
        x = cut(call, x, axis, max(-before, 0), x.type.shape[axis] - max(-after, 0))
    befores, afters = (tuple(max(side[end], 0) for side in sides) for end in (0, 1))
    return call.add(op_shape.Pad(before=befores, after=afters, value=value), x), (0, 0, 0, 0)


@imports("Conv")
def conv(call: Call, x: Value, weight: Value, bias: Value | None = None) -> Value:
    """x[n,c,h,w] convolved with weight[o,c/groups,kh,kw]; the same over one axis."""
    if x.type.rank == 5 and weight.type.rank == 5:
        return _conv3d(call, x, weight, bias)
    rank, groups = spatial_rank(call, x), call.get("group", 1)
    if weight.type.rank != x.type.rank:
        call.refuse(f"of {x.type} with a weight {weight.type}")
    edges = [fixed(dim, "kernel") for dim in weight.type.shape[2:]]
    if call.get("kernel_shape", None) not in (None, [], edges):
        call.refuse(f"with a kernel_shape that is not the weight's {edges}")
    stride, dilation = (two(call, call.get(name, None), 1, rank) for name in ("strides", "dilations"))
    sides = padding(call, x.type.shape[2:], edges, stride[-rank:], dilation[-rank:])
    kernel = (1, edges[0]) if rank == 1 else (edges[0], edges[1])
    if rank == 1:
        weight = call.reshape(weight, *weight.type.shape[:2], *kernel)
    y = _convolved(call, image(call, x), weight, bias, stride, pad_of(sides), dilation, groups)
    return from_image(call, y, rank)


def _convolved(
    call: Call, x: Value, weight: Value, bias: Value | None, stride: Pair, pad: Pad, dilation: Pair, groups: int
) -> Value:
    """x[n,h,w,c], weight[o,c/groups,kh,kw] -> y[n,oh,ow,o]."""
    kernel = (fixed(weight.type.shape[2], "kernel"), fixed(weight.type.shape[3], "kernel"))
    x, pad = padded(call, x, kernel, pad, dilation)
    if not weight.is_constant:
        windows = call.add(Unfold(kernel, stride, pad, dilation), x)
        return products_of_windows(call, windows, weight, bias, groups)
    op = Conv2d(stride=stride, pad=pad, dilation=dilation, groups=groups)
    return call.add(op, x, call.transpose(weight, 0, 2, 3, 1), *([] if bias is None else [bias]))


def products_of_windows(call: Call, windows: Value, weight: Value, bias: Value | None, groups: int) -> Value:
    """windows[n,oh,ow,kh*kw,c], weight[o,c/groups,kh,kw] -> y[n,oh,ow,o], of matrix products."""
    n, oh, ow, places, c = windows.type.shape
    o, channels = fixed(weight.type.shape[0], "features"), fixed(c, "channel count")
    if groups < 1 or channels % groups or o % groups or weight.type.shape[1] != channels // groups:
        call.refuse(f"of {channels} channels in {groups} groups with a weight {weight.type}")
    own, features = channels // groups, o // groups
    rows = call.transpose(weight, 0, 2, 3, 1)
    parts = []
    for group in range(groups):
        columns = cut(call, windows, 4, group * own, (group + 1) * own)
        flat = call.reshape(columns, n, oh * ow, places * own)
        mine = call.reshape(cut(call, rows, 0, group * features, (group + 1) * features), features, places * own)
        parts.append(call.reshape(call.add(Matmul(), flat, call.transpose(mine, 1, 0)), n, oh, ow, features))
    y = parts[0] if groups == 1 else call.add(Concat(axis=3), *parts)
    return y if bias is None else call.add(Add(), y, bias)


def _conv3d(call: Call, x: Value, weight: Value, bias: Value | None) -> Value:
    """The sum over the kernel's depth of convolutions of all planes at that depth."""
    groups = call.get("group", 1)
    edges = [fixed(dim, "kernel") for dim in weight.type.shape[2:]]
    if call.get("kernel_shape", None) not in (None, [], edges):
        call.refuse(f"with a kernel_shape that is not the weight's {edges}")
    stride = list(call.get("strides", None) or [1] * 3)
    dilation = list(call.get("dilations", None) or [1] * 3)
    sides = padding(call, x.type.shape[2:], edges, stride, dilation)
    if len(stride) != 3 or len(dilation) != 3:
        call.refuse("with strides or dilations that are not of three axes")
    if any(side < 0 for side in sides[0]):
        call.refuse("with negative pads")
    deep = call.transpose(x, 0, 2, 3, 4, 1)  # n, depth, h, w, c
    if any(sides[0]):
        before, after = ((0, side, 0, 0, 0) for side in sides[0])
        deep = call.add(op_shape.Pad(before=before, after=after), deep)
    n, depth, h, w, c = deep.type.shape
    reach = (edges[0] - 1) * dilation[0] + 1
    count = (fixed(depth, "depth") - reach) // stride[0] + 1
    if count < 1:
        call.refuse(f"of depth {depth} with a kernel of {reach}")
    total: Value | None = None
    for place in range(edges[0]):
        start = place * dilation[0]
        plane = cut(call, deep, 1, start, start + (count - 1) * stride[0] + 1, stride[0])
        flat = call.reshape(plane, n * count, h, w, c)
        kernel = call.reshape(cut(call, weight, 2, place, place + 1), *weight.type.shape[:2], *weight.type.shape[3:])
        y = _convolved(
            call,
            flat,
            kernel,
            bias if place == 0 else None,
            (stride[1], stride[2]),
            pad_of(sides[1:]),
            (dilation[1], dilation[2]),
            groups,
        )
        total = y if total is None else call.add(Add(), total, y)
    assert total is not None
    _, oh, ow, o = total.type.shape
    return call.transpose(call.reshape(total, n, count, oh, ow, o), 0, 4, 1, 2, 3)


@imports("ConvTranspose")
def conv_transpose(call: Call, x: Value, weight: Value, bias: Value | None = None) -> Value:
    """Every pixel of x[n,c,h,w] times weight[c,o/groups,kh,kw], added up where the windows overlap."""
    rank, groups = spatial_rank(call, x), call.get("group", 1)
    if weight.type.rank != x.type.rank:
        call.refuse(f"of {x.type} with a weight {weight.type}")
    edges = [fixed(dim, "kernel") for dim in weight.type.shape[2:]]
    if call.get("kernel_shape", None) not in (None, [], edges):
        call.refuse(f"with a kernel_shape that is not the weight's {edges}")
    kernel = (1, edges[0]) if rank == 1 else (edges[0], edges[1])
    stride, dilation = (two(call, call.get(name, None), 1, rank) for name in ("strides", "dilations"))
    extra = two(call, call.get("output_padding", None), 0, rank)
    picture = image(call, x)
    counts = (fixed(picture.type.shape[1], "height"), fixed(picture.type.shape[2], "width"))
    size, pad = _transposed_size(call, rank, counts, kernel, stride, dilation, extra)
    weight = call.reshape(weight, *weight.type.shape[:2], *kernel)
    y = transposed(call, picture, weight, bias, groups, size=size, stride=stride, pad=pad, dilation=dilation)
    return from_image(call, y, rank)


def _transposed_size(
    call: Call, rank: int, counts: Pair, kernel: Pair, stride: Pair, dilation: Pair, extra: Pair
) -> tuple[Pair, Pad]:
    """The size of what the windows make, and what is cut off around it."""
    reach = dilated(kernel, dilation)
    whole = [(counts[i] - 1) * stride[i] + reach[i] + extra[i] for i in (0, 1)]
    wanted, mode, pads = call.get("output_shape", None), call.get("auto_pad", "NOTSET"), call.get("pads", None)
    if wanted or mode in ("SAME_UPPER", "SAME_LOWER"):
        size = list(wanted)[-rank:] if wanted else [counts[i] * stride[i] for i in (0, 1)][-rank:]
        size = [1, *size] if rank == 1 else size
        sides = []
        for i in (0, 1):
            total = max(0, whole[i] - size[i])
            less = total // 2
            sides.append((less, total - less) if mode == "SAME_UPPER" else (total - less, less))
        if rank == 1:
            sides[0] = (0, 0)
    else:
        if mode not in ("NOTSET", "", "VALID"):
            call.refuse(f"with auto_pad {mode!r:.40}")
        given = list(pads) if pads and mode != "VALID" else [0] * (2 * rank)
        if len(given) != 2 * rank or any(side < 0 for side in given):
            call.refuse(f"with pads {given!r:.60}")
        sides = list(zip(given[:rank], given[rank:], strict=True))
        sides = [(0, 0), *sides] if rank == 1 else sides
        size = [whole[i] - sum(sides[i]) for i in (0, 1)]
    if any(edge < 1 for edge in size):
        call.refuse(f"with an output of {size}")
    return (size[0], size[1]), pad_of(sides)


@imports("Col2Im")
def col2im(call: Call, x: Value, image_shape: Value, block_shape: Value) -> Value:
    """y[n,c,h,w] of x[n,c*kh*kw,windows]: every window added back where it came from."""
    size, block = call.ints(image_shape, "an image shape"), call.ints(block_shape, "a block shape")
    if len(size) != 2 or len(block) != 2 or x.type.rank != 3:
        call.refuse(f"of {x.type} over {len(size)} axes")
    kernel = (block[0], block[1])
    stride, dilation = (two(call, call.get(name, None), 1, 2) for name in ("strides", "dilations"))
    given = call.get("pads", None) or [0] * 4
    if len(given) != 4:
        call.refuse(f"with pads {given!r:.60}")
    pad: Pad = (given[0], given[1], given[2], given[3])
    reach = dilated(kernel, dilation)
    if all(0 <= pad[i] < reach[i % 2] for i in range(4)):
        counts = window_counts(size[0], size[1], kernel, stride, pad, dilation)
    else:
        counts = window_counts(
            size[0] + pad[0] + pad[2], size[1] + pad[1] + pad[3], kernel, stride, (0, 0, 0, 0), dilation
        )
    batch, mixed, _ = x.type.shape
    spots = kernel[0] * kernel[1]
    try:
        channels = quotient(mixed, spots)
    except ValueError:
        call.refuse(f"of {mixed} columns for blocks of {spots}")
    apart = call.reshape(x, batch, channels, spots, *counts)
    windows = call.transpose(apart, 0, 3, 4, 2, 1)
    return channels_first(call, folded(call, windows, (size[0], size[1]), kernel, stride, pad, dilation))
