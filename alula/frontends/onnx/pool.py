"""Importers of pooling.  Channels-last inside, ONNX's order outside."""

from __future__ import annotations

from collections.abc import Sequence

from alula.core.dims import Dim
from alula.frontends.onnx.call import Call, imports
from alula.frontends.onnx.conv import from_image, image, pad_of, padding, spatial_rank, two
from alula.ir.graph import Value
from alula.ops import elementwise as ops
from alula.ops.pool import AvgPool2d, MaxPool2d
from alula.ops.reduce import ReduceMax, ReduceMean, ReduceSum
from alula.ops.shape import Pad as PadOp
from alula.ops.unfold import Unfold
from alula.ops.windows import Pad, Pair, dilated

LOWEST = float("-inf")


class _Windows:
    """Kernel, stride, dilation and padding of a pooling, as of two axes, and how many windows there are."""

    def __init__(self, call: Call, x: Value) -> None:
        self.rank = spatial_rank(call, x)
        kernel = call.get("kernel_shape", None)
        if not kernel:
            call.refuse("without a kernel_shape")
        self.kernel = two(call, kernel, 1, self.rank)
        self.stride, self.dilation = (
            two(call, call.get(name, None), 1, self.rank) for name in ("strides", "dilations")
        )
        if any(not 1 <= edge < 1 << 20 for edge in (*self.kernel, *self.stride, *self.dilation)):
            call.refuse(f"with a kernel of {self.kernel}, strides {self.stride}, dilations {self.dilation}")
        sizes: Sequence[Dim] = x.type.shape[2:]
        edges = (pair[2 - self.rank :] for pair in (self.kernel, self.stride, self.dilation))
        kernel, stride, dilation = edges
        self.pad = pad_of(padding(call, sizes, kernel, stride, dilation))
        self.size = (1, sizes[0]) if self.rank == 1 else (sizes[0], sizes[1])
        self.ceil = bool(call.get("ceil_mode", 0)) and call.get("auto_pad", "NOTSET") in ("NOTSET", "")

    @property
    def reach(self) -> Pair:
        return dilated(self.kernel, self.dilation)

    @property
    def plain(self) -> bool:
        """True where the windows are those of our pools: not dilated, none of them in padding alone."""
        return self.dilation == (1, 1) and all(0 <= edge < self.reach[i % 2] for i, edge in enumerate(self.pad))

    def overhang(self, call: Call) -> Pair:
        """Rows and columns beyond the padding that the last windows of ceil_mode reach."""
        if not self.ceil:
            return 0, 0
        beyond = []
        for i in (0, 1):
            size = self.size[i]
            if not isinstance(size, int):
                call.refuse(f"with ceil_mode of size {size}")
            whole = size + self.pad[i] + self.pad[i + 2]
            count = -(-(whole - self.reach[i]) // self.stride[i]) + 1
            if (count - 1) * self.stride[i] >= size + self.pad[i]:
                count -= 1  # it would start in the padding at the end
            beyond.append(max(0, (count - 1) * self.stride[i] + self.reach[i] - whole))
        return beyond[0], beyond[1]


@imports("MaxPool")
def max_pool(call: Call, x: Value) -> Value:
    """Largest element of each window; not where it is."""
    call.get("storage_order", 0)  # of the result that we do not give
    if x.type.rank == 5:
        return _pool3d(call, x)
    w = _Windows(call, x)
    if w.plain:
        op = MaxPool2d(kernel=w.kernel, stride=w.stride, pad=w.pad, ceil_mode=w.ceil)
        return from_image(call, call.add(op, image(call, x)), w.rank)
    picture = _padded(call, image(call, x), w.pad, w.overhang(call), LOWEST)
    op_all = Unfold(kernel=w.kernel, stride=w.stride, pad=(0, 0, 0, 0), dilation=w.dilation)
    return from_image(call, call.add(ReduceMax(axes=(3,)), call.add(op_all, picture)), w.rank)


def _padded(call: Call, x: Value, pad: Pad, beyond: Pair, value: float) -> Value:
    top, left, bottom, right = pad
    before, after = (0, top, left, 0), (0, bottom + beyond[0], right + beyond[1], 0)
    return call.add(PadOp(before=before, after=after, value=value), x) if any(before + after) else x


@imports("AveragePool")
def average_pool(call: Call, x: Value) -> Value:
    """Mean of each window; padding counts where it is asked for, what overhangs it never."""
    if x.type.rank == 5:
        return _pool3d(call, x)
    counted = bool(call.get("count_include_pad", 0))
    w = _Windows(call, x)
    if w.plain:
        op = AvgPool2d(kernel=w.kernel, stride=w.stride, pad=w.pad, ceil_mode=w.ceil, count_include_pad=counted)
        return from_image(call, call.add(op, image(call, x)), w.rank)
    picture = image(call, x)
    _, h, width, _ = picture.type.shape
    if not isinstance(h, int) or not isinstance(width, int):
        call.refuse(f"with dilations of an input {x.type}")
    beyond = w.overhang(call)
    op_all = Unfold(kernel=w.kernel, stride=w.stride, pad=(0, 0, 0, 0), dilation=w.dilation)
    sums = call.add(ReduceSum(axes=(3,)), call.add(op_all, _padded(call, picture, w.pad, beyond, 0.0)))
    ones = _padded(call, call.constant([[[[1.0]] * width] * h], x.type.dtype), w.pad, (0, 0), float(counted))
    counts = call.add(ReduceSum(axes=(3,)), call.add(op_all, _padded(call, ones, (0, 0, 0, 0), beyond, 0.0)))
    return from_image(call, call.add(ops.Div(), sums, counts), w.rank)


def _pool3d(call: Call, x: Value) -> Value:
    call.refuse(f"of an input {x.type}")


@imports("LpPool")
def lp_pool(call: Call, x: Value) -> Value:
    """The p-norm of each window; padding is zero."""
    p = call.get("p", 2)
    w = _Windows(call, x)
    picture = call.add(ops.Abs(), image(call, x))
    powers = call.add(ops.Mul(), picture, picture) if p == 2 else call.add(ops.Pow(), picture, call.like(p, x))
    whole = _padded(call, powers if p != 1 else picture, w.pad, w.overhang(call), 0.0)
    windows = call.add(Unfold(kernel=w.kernel, stride=w.stride, pad=(0, 0, 0, 0), dilation=w.dilation), whole)
    total = call.add(ReduceSum(axes=(3,)), windows)
    if p == 2:
        total = call.add(ops.Sqrt(), total)
    elif p != 1:
        total = call.add(ops.Pow(), total, call.like(1 / p, x))
    return from_image(call, total, w.rank)


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
