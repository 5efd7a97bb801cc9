"""For every op a hypothesis strategy of (op, operand types) that fit it, the size N among their dimensions."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

import alula.ops
from alula.core.dims import Dim, dim_at, product, symbol
from alula.core.dtype import Array, DType, cast_array
from alula.core.errors import ShapeError
from alula.ir.op import OPS, Op, infer_types
from alula.ir.parser import parse_type
from alula.ir.types import TensorType
from alula.ops.attention import Attention
from alula.ops.checks import FLOATS, NUMBERS
from alula.ops.conv import Conv2d, whole_groups
from alula.ops.depthwise import DepthwiseConv2d
from alula.ops.elementwise import Binary, Cast, Clip, Gelu, LeakyRelu, Normalize, Unary
from alula.ops.gather import REDUCTIONS, Gather, Interpolate, Scatter
from alula.ops.logic import Where
from alula.ops.matmul import Linear, Matmul, group_of, packed_shape
from alula.ops.norm import BatchNorm, LayerNorm
from alula.ops.outlook import OutlookAttention
from alula.ops.pool import AvgPool2d, MaxPool2d
from alula.ops.quantize import Dequantize, Quantize, QuantizeRows
from alula.ops.reduce import Reduction
from alula.ops.resize import ROUNDINGS, TERMS, WHERES, ResizePlaces, ResizeShares
from alula.ops.shape import Concat, Expand, Pad, Reshape, Slice, Transpose
from alula.ops.softmax import Softmax
from alula.ops.sort import TopK
from alula.ops.unfold import Fold, Unfold
from alula.ops.windows import window_counts

N = symbol("N")
Case = tuple[Op, tuple[TensorType, ...]]
Draw = Callable[[st.SearchStrategy[Any]], Any]

CASES: dict[str, st.SearchStrategy[Case]] = {}

fixed_dims = st.integers(0, 4)
dims = st.one_of(fixed_dims, st.sampled_from([N, N * 2, N + 1]))
shapes = st.lists(dims, max_size=4).map(tuple)
floats = st.floats(allow_nan=False, width=32)
moderate = st.floats(-4, 4, width=16)


def any_of(dtypes: frozenset[DType]) -> st.SearchStrategy[DType]:
    return st.sampled_from(sorted(dtypes, key=str))


def of(*ops: type[Op]) -> Callable[[Callable[..., Case]], Callable[..., Case]]:
    """The decorated function draws the cases of these ops."""

    def remember(function: Callable[..., Case]) -> Callable[..., Case]:
        for op in ops:
            CASES[op.name] = st.composite(function)(op)
        return function

    return remember


def registered(base: type[Op]) -> list[type[Op]]:
    return [op for op in OPS.values() if issubclass(op, base)]


def types(dtype: DType, *shapes: Sequence[Dim]) -> tuple[TensorType, ...]:
    return tuple(TensorType(dtype, tuple(shape)) for shape in shapes)


def fill(type: TensorType, sizes: dict[str, int], seed: int = 0) -> Array:
    """Random elements of a type, floats from a normal distribution, integers of all bits."""
    random, shape = np.random.default_rng(seed), type.at(sizes)
    if type.dtype.is_float:
        return cast_array(random.standard_normal(shape), type.dtype)
    if type.dtype is DType.BOOL:
        return random.integers(0, 2, shape).astype(np.bool_)
    return random.integers(0, 256, (*shape, type.dtype.bytes), np.uint8).view(type.dtype.numpy).reshape(shape)


def infer(op: Op, *texts: str) -> str:
    """The inferred types, all as text."""
    return ", ".join(map(str, infer_types(op, [parse_type(text) for text in texts])))


def refusal(op: Op, *texts: str) -> str:
    """The text of the ShapeError that these operands raise."""
    with pytest.raises(ShapeError) as caught:
        infer(op, *texts)
    return str(caught.value)


@of(*registered(Unary))
def unary(draw: Draw, op: type[Unary]) -> Case:
    low, high = sorted((draw(floats), draw(floats)))
    attributes: dict[type[Op], tuple[Any, ...]] = {
        Clip: (low, high),
        LeakyRelu: (low,),
        Gelu: (draw(st.sampled_from(["none", "tanh"])),),
    }
    return op(*attributes.get(op, ())), types(draw(any_of(op.allowed)), draw(shapes))


def broadcastable(draw: Draw, shape: Sequence[Dim]) -> tuple[Dim, ...]:
    """A shape that broadcasts to `shape`."""
    kept = [draw(st.sampled_from([1, dim])) for dim in shape]
    return tuple(kept[draw(st.integers(0, len(kept))) if kept and kept[0] == 1 else 0 :])


@of(*registered(Binary))
def binary(draw: Draw, op: type[Binary]) -> Case:
    shape = draw(shapes)
    return op(), types(draw(any_of(op.allowed)), broadcastable(draw, shape), broadcastable(draw, shape))


@of(Where)
def where(draw: Draw, op: type[Where]) -> Case:
    shape, dtype = draw(shapes), draw(st.sampled_from(DType))
    condition, *operands = (broadcastable(draw, shape) for _ in range(3))
    return op(), (*types(DType.BOOL, condition), *types(dtype, *operands))


def placed(draw: Draw) -> tuple[dict[str, int], tuple[Dim, ...], DType, tuple[Dim, ...], tuple[Dim, ...]]:
    """axis and batch, the shape of x, the dtype and the shape of indices, the shape of x at their places."""
    front, size, back, counts = draw(shapes), draw(dims) or 1, draw(shapes), draw(shapes)
    batch = draw(st.integers(0, len(front)))
    places = draw(st.sampled_from([DType.I32, DType.I64])), (*front[:batch], *counts)
    return {"axis": len(front), "batch": batch}, (*front, size, *back), *places, (*front, *counts, *back)


@of(Gather)
def gather(draw: Draw, op: type[Gather]) -> Case:
    where, shape, kind, places, _ = placed(draw)
    return op(**where), (TensorType(draw(st.sampled_from(DType)), shape), TensorType(kind, places))


@of(Interpolate)
def interpolate(draw: Draw, op: type[Interpolate]) -> Case:
    where, shape, kind, places, _ = placed(draw)
    dtype, terms = draw(any_of(FLOATS)), (*places, draw(fixed_dims))
    return op(**where), (TensorType(dtype, shape), TensorType(kind, terms), TensorType(dtype, terms))


@of(Scatter)
def scatter(draw: Draw, op: type[Scatter]) -> Case:
    where, shape, kind, places, updates = placed(draw)
    reduction = draw(st.sampled_from(REDUCTIONS))
    dtype = draw(st.sampled_from(DType) if reduction == "none" else any_of(NUMBERS))
    operands = TensorType(dtype, shape), TensorType(kind, places), TensorType(dtype, updates)
    return op(**where, reduction=reduction), operands


@of(TopK)
def top_k(draw: Draw, op: type[TopK]) -> Case:
    k = draw(fixed_dims)
    size = draw(st.sampled_from([k, k + 3, N + k]))
    return op(k, draw(st.booleans())), types(draw(any_of(NUMBERS)), (*draw(shapes), size))


@of(ResizePlaces, ResizeShares)
def resize_table(draw: Draw, op: type[ResizePlaces] | type[ResizeShares]) -> Case:
    method = draw(st.sampled_from([*(["nearest"] if op is ResizePlaces else []), *TERMS]))
    smooth = method != "nearest" and draw(st.booleans())
    sizes = st.integers(1, 5) if smooth else st.one_of(st.integers(1, 5), st.sampled_from([N, N * 2, N + 1]))
    size, wanted = draw(sizes), draw(sizes)
    where, rounding = draw(st.sampled_from(WHERES)), draw(st.sampled_from(sorted(ROUNDINGS)))
    scale = draw(st.sampled_from([0.0, 0.5, 2.0]))
    return op(size, wanted, where, method, scale, rounding=rounding, smooth=smooth, exclude=False), ()


@of(Cast)
def cast(draw: Draw, op: type[Cast]) -> Case:
    return op(draw(st.sampled_from(DType))), types(draw(st.sampled_from(DType)), draw(shapes))


@of(Normalize)
def normalize(draw: Draw, op: type[Normalize]) -> Case:
    scale = draw(st.lists(moderate, max_size=4).map(tuple))
    return op(scale, scale[::-1]), types(draw(st.sampled_from([DType.U8, DType.F32])), (*draw(shapes), len(scale)))


@of(Reshape)
def reshape(draw: Draw, op: type[Reshape]) -> Case:
    shape = draw(shapes)
    cut = draw(st.integers(0, len(shape)))
    return op((product(shape[:cut]), 1, *shape[cut:])), types(draw(st.sampled_from(DType)), shape)


@of(Transpose)
def transpose(draw: Draw, op: type[Transpose]) -> Case:
    shape = draw(shapes)
    return op(tuple(draw(st.permutations(range(len(shape)))))), types(draw(st.sampled_from(DType)), shape)


@of(Slice)
def slice_(draw: Draw, op: type[Slice]) -> Case:
    front, size, back = draw(shapes), draw(dims), draw(shapes)
    dtype, step = draw(st.sampled_from(DType)), draw(st.integers(1, 3))
    if isinstance(size, int):
        start = draw(st.integers(0, size))
        stop: Dim = draw(st.integers(start, size))
    else:
        start, stop = draw(st.integers(0, 1)), size
    return op(len(front), start, stop, step), types(dtype, (*front, size, *back))


@of(Concat)
def concat(draw: Draw, op: type[Concat]) -> Case:
    front, back, sizes = draw(shapes), draw(shapes), draw(st.lists(dims, min_size=1, max_size=3))
    return op(len(front)), types(draw(st.sampled_from(DType)), *((*front, size, *back) for size in sizes))


@of(Expand)
def expand(draw: Draw, op: type[Expand]) -> Case:
    shape = draw(shapes)
    return op(shape), types(draw(st.sampled_from(DType)), broadcastable(draw, shape))


@of(Pad)
def pad(draw: Draw, op: type[Pad]) -> Case:
    shape, dtype = draw(shapes), draw(st.sampled_from(DType))
    counts = st.tuples(*[st.integers(0, 2)] * len(shape))
    return op(draw(counts), draw(counts), draw(floats if dtype.is_float else st.sampled_from([0, 1]))), types(
        dtype, shape
    )


@of(*registered(Reduction))
def reduction(draw: Draw, op: type[Reduction]) -> Case:
    shape = draw(shapes)
    axes = tuple(sorted(draw(st.sets(st.sampled_from(range(len(shape)))) if shape else st.just(()))))
    return op(axes, draw(st.booleans())), types(draw(any_of(op.allowed)), shape)


# dtypes of x, of the weight and of the sums, and `wide`
PRODUCTS = st.one_of(
    any_of(FLOATS).map(lambda dtype: (dtype, dtype, dtype, False)),
    st.sampled_from(
        [
            (DType.F32, DType.F16, DType.F32, False),
            (DType.BF16, DType.BF16, DType.F32, True),
            (DType.U8, DType.I8, DType.I32, False),
        ]
    ),
)


@of(Linear)
def linear(draw: Draw, op: type[Linear]) -> Case:
    k, n, panel = draw(dims), draw(st.integers(1, 7)), draw(st.integers(0, 4))
    x, w, total, wide = draw(PRODUCTS)
    if w is DType.I8 or (panel and group_of(w) > 1):
        k = group_of(w) * draw(st.integers(0, 3)) if panel else draw(fixed_dims)
    weight = (-(-n // panel), *packed_shape(k, panel, w)) if panel else (n, k)
    bias = types(total, (n,)) if draw(st.booleans()) else ()
    made = op(n if panel else 0, panel, wide)
    return made, (*types(x, (*draw(shapes), k)), *types(w, weight), *bias)


@of(Matmul)
def matmul(draw: Draw, op: type[Matmul]) -> Case:
    batch, m, k, n = draw(st.lists(dims, max_size=2)), draw(dims), draw(dims), draw(dims)
    a, b = broadcastable(draw, batch), broadcastable(draw, batch)
    return op(), types(draw(any_of(FLOATS)), (*a, m, k), (*b, k, n))


def window(draw: Draw, dilatable: bool = True) -> dict[str, tuple[int, ...]]:
    """kernel, stride, dilation and a pad that fits them."""
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    kernel, stride, dilation = draw(pair), draw(pair), draw(pair) if dilatable else (1, 1)
    reach = [(k - 1) * d for k, d in zip(kernel, dilation, strict=True)]
    pads = tuple(draw(st.integers(0, reach[i % 2])) for i in range(4))
    return {"kernel": kernel, "stride": stride, "pad": pads} | ({"dilation": dilation} if dilatable else {})


def sizes_for(draw: Draw, window: dict[str, Any], symbolic: bool = True) -> tuple[Dim, Dim]:
    """A height and a width that give no negative count of windows."""
    kernel, pads, dilation = window["kernel"], window["pad"], window.get("dilation", (1, 1))
    least = [max(0, (kernel[i] - 1) * dilation[i] + 1 - pads[i] - pads[i + 2]) for i in range(2)]
    choices = [st.integers(low, low + 3) | (st.just(N + low) if symbolic else st.nothing()) for low in least]
    return draw(choices[0]), draw(choices[1])


@of(Conv2d)
def conv2d(draw: Draw, op: type[Conv2d]) -> Case:
    fit, groups, panel = window(draw), draw(st.integers(1, 2)), draw(st.integers(0, 4))
    kernel = fit.pop("kernel")
    c, o = groups * draw(st.integers(0, 2)), groups * draw(st.integers(1, 3))
    dtype, w, total, wide = draw(PRODUCTS)
    attributes: dict[str, Any] = {"wide": wide}
    if c > 0 and w is not DType.I8 and draw(st.booleans()):
        attributes |= {"scale": (0.5,) * c, "shift": (-1.0,) * c}
        taken = [DType.U8, dtype] + [DType.F32] * wide
        dtype = draw(st.sampled_from(taken))
        if (dtype, w) == (DType.U8, DType.F16):
            total = DType.F32
    if c > 0 and w is DType.I8 and draw(st.booleans()):
        attributes["border"] = tuple(draw(st.integers(0, 255)) for _ in range(c))
    x = TensorType(dtype, (draw(dims), *sizes_for(draw, {"kernel": kernel, **fit}), c))
    weight: tuple[Dim, ...] = (o, *kernel, c // groups)
    if panel:
        attributes |= {"features": o, "kernel": kernel, "panel": panel}
        k = kernel[0] * kernel[1] * whole_groups(c // groups, w)
        weight = (groups, -(-(o // groups) // panel), *packed_shape(k, panel, w))
    bias = types(total, (o,)) if draw(st.booleans()) else ()
    return op(**fit, groups=groups, **attributes), (x, *types(w, weight), *bias)


@of(DepthwiseConv2d)
def depthwise_conv2d(draw: Draw, op: type[DepthwiseConv2d]) -> Case:
    fit, c, dtype = window(draw), draw(dims), draw(st.sampled_from([DType.F32, DType.BF16, DType.U8]))
    kernel = fit.pop("kernel")
    x = TensorType(dtype, (draw(dims), *sizes_for(draw, {"kernel": kernel, **fit}), c))
    if dtype is DType.U8:
        (kh, kw), packed = kernel, draw(st.booleans())
        fit |= {"zero": draw(st.integers(0, 255)), "taps": kh if packed else 0}
        return op(**fit), (x, *types(DType.I16, (kh + 1, kw, c, 2) if packed else (kh, kw, c)))
    bias = types(DType.F32, (c,)) if draw(st.booleans()) else ()
    return op(**fit), (x, *types(DType.F32, (*kernel, c)), *bias)


@of(MaxPool2d, AvgPool2d)
def pool(draw: Draw, op: type[Any]) -> Case:
    fit, ceil_mode = window(draw, dilatable=False), draw(st.booleans())
    more = {"count_include_pad": draw(st.booleans())} if op is AvgPool2d else {}
    shape = (draw(dims), *sizes_for(draw, fit, symbolic=not ceil_mode), draw(dims))
    return op(**fit, ceil_mode=ceil_mode, **more), types(draw(any_of(op.allowed)), shape)


@of(LayerNorm, BatchNorm)
def norm(draw: Draw, op: type[Any]) -> Case:
    c, vectors = draw(dims), 2 if op is LayerNorm else 4
    return op(draw(st.floats(0, 1))), types(draw(any_of(FLOATS)), (*draw(shapes), c), *[(c,)] * vectors)


@of(Softmax)
def softmax(draw: Draw, op: type[Softmax]) -> Case:
    front = draw(shapes)
    return op(len(front)), types(draw(any_of(FLOATS)), (*front, draw(dims), *draw(shapes)))


@of(Attention)
def attention(draw: Draw, op: type[Attention]) -> Case:
    heads, d, e = draw(st.integers(1, 3)), draw(fixed_dims), draw(fixed_dims)
    b, n, m = draw(dims), draw(dims), draw(dims)
    shape = (b, n, heads * d), (b, m, heads * d), (b, m, heads * e)
    wide, byte_values = draw(st.booleans()), draw(st.booleans())
    if byte_values:
        m = draw(fixed_dims)
        shape = (b, n, heads * d), (b, m, heads * d), (b, m, heads * e)
    operands = types(DType.BF16 if wide else draw(any_of(FLOATS)), *shape)
    if draw(st.booleans()):
        added = draw(st.sampled_from([1, b])), draw(st.sampled_from([1, heads])), draw(st.sampled_from([1, n])), m
        if added[0] != 0:
            operands = *operands, TensorType(DType.F32 if wide else operands[0].dtype, added)
    return op(heads, draw(moderate), wide, byte_values), operands


@of(OutlookAttention)
def outlook(draw: Draw, op: type[OutlookAttention]) -> Case:
    fit, heads, d, b = window(draw, dilatable=False), draw(st.integers(1, 3)), draw(fixed_dims), draw(dims)
    size = sizes_for(draw, fit)
    counts = window_counts(*size, **fit)
    places = fit["kernel"][0] * fit["kernel"][1]
    shape = (b, *counts, heads * places * places), (b, *size, heads * d)
    return op(heads, **fit, scale=draw(moderate)), types(draw(any_of(FLOATS)), *shape)


@of(Quantize)
def quantize(draw: Draw, op: type[Quantize]) -> Case:
    scale = draw(st.floats(2.0**-120, 2.0**120, width=32))
    return op(scale, draw(st.integers(0, 255))), types(DType.F32, draw(shapes))


@of(Dequantize)
def dequantize(draw: Draw, op: type[Dequantize]) -> Case:
    scale = draw(st.floats(2.0**-120, 2.0**120, width=32))
    return op(scale, draw(st.integers(0, 255))), types(DType.U8, draw(shapes))


@of(QuantizeRows)
def quantize_rows(draw: Draw, op: type[QuantizeRows]) -> Case:
    return op(), types(DType.F32, (*draw(shapes), draw(dims)))


@of(Unfold)
def unfold(draw: Draw, op: type[Unfold]) -> Case:
    fit = window(draw)
    return op(**fit), types(draw(any_of(NUMBERS)), (draw(dims), *sizes_for(draw, fit), draw(dims)))


@of(Fold)
def fold(draw: Draw, op: type[Fold]) -> Case:
    fit = window(draw)
    size = sizes_for(draw, fit, symbolic=False)
    shape = (draw(dims), *window_counts(*size, **fit), fit["kernel"][0] * fit["kernel"][1], draw(dims))
    return op(size=size, **fit), types(draw(any_of(FLOATS)), shape)


def concrete(case: Case, sizes: dict[str, int]) -> Case:
    """The case with the named sizes put in."""
    op, operands = case
    return op.at(sizes), tuple(type.reshaped(*(dim_at(dim, sizes) for dim in type.shape)) for type in operands)


assert alula.ops.__all__  # every family is imported, so that OPS above is whole
