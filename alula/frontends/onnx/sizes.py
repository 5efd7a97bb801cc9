"""Arithmetic of shapes: integers and booleans that are known, or that are dimensions of the batch, computed at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np

from alula.core.dims import LARGEST_SIZE, Dim, Expr, at_least, bounds
from alula.core.dtype import Array, cast_array
from alula.frontends.onnx.call import Call, Operand, Places, Result, axis_of, folds, imports, sizes_or_constant
from alula.frontends.onnx.source import DTYPES
from alula.ir.graph import Value

LARGEST = 1 << 20  # elements of a result that is computed element by element


def checked(call: Call, shape: tuple[Any, ...]) -> tuple[int, ...] | None:
    """A fixed shape of few elements; None for another."""
    if not all(isinstance(dim, int) for dim in shape):
        return None
    if any(dim < 0 for dim in shape):
        call.refuse(f"with a shape {list(shape)!r:.60}")
    return shape if prod(shape) <= LARGEST else None


def integers(array: Array | None) -> list[Any]:
    """Its elements as Python values."""
    return [] if array is None else array.reshape(-1).tolist()


def fixed_integers(call: Call, array: Array | None, what: str) -> list[int]:
    """Its elements where none depends on the batch."""
    values = integers(array)
    if any(isinstance(value, Expr) for value in values):
        call.refuse(f"with {what} that depends on the batch")
    return values


@imports("Shape")
def shape(call: Call, x: Value) -> Result:
    """The dimensions of x, or some of them."""
    start, end = call.get("start", 0), call.get("end", None)
    return sizes_or_constant(call, objects(list(x.type.shape[slice(start, end)])))


@folds("Shape")
def shape_of_sizes(call: Call, x: Array) -> Array:
    """The dimensions of x, or some of them."""
    start, end = call.get("start", 0), call.get("end", None)
    return np.array(x.shape[slice(start, end)], np.int64)


@imports("Size")
def size(call: Call, x: Value) -> Result:
    """How many elements x has."""
    return sizes_or_constant(call, objects([x.type.elements]).reshape(()))


def objects(values: list[Any]) -> Array:
    """Integers and dimensions as an array of one axis."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


@folds("Identity")
def identity(call: Call, x: Array) -> Array:
    """x."""
    return x


@folds("Gather")
def gather(call: Call, data: Array, indices: Array) -> Array:
    """data at `indices` of an axis."""
    axis = axis_of(call, call.get("axis", 0), data.ndim)
    places = np.array(fixed_integers(call, indices, "indices"), np.int64).reshape(indices.shape)
    if places.size and not -data.shape[axis] <= places.min() <= places.max() < data.shape[axis]:
        call.refuse(f"with an index outside {data.shape[axis]} elements")
    return np.take(data, places, axis)


@folds("Concat")
def concat(call: Call, *arrays: Array) -> Array | None:
    """All arrays, one after the other."""
    if any(array.ndim == 0 or array.ndim != arrays[0].ndim for array in arrays):
        call.refuse("of operands of different ranks")
    axis = axis_of(call, call.get("axis", 1), arrays[0].ndim)
    shapes = {(*array.shape[:axis], *array.shape[axis + 1 :]) for array in arrays}
    if len(shapes) > 1:
        call.refuse("of operands of different shapes")
    return np.concatenate(arrays, axis)


@folds("Unsqueeze")
def unsqueeze(call: Call, x: Array, axes: Array | None = None) -> Array:
    """x with axes of size 1."""
    chosen = call.get("axes", None) if call.opset < 13 else fixed_integers(call, axes, "axes")
    rank = x.ndim + len(chosen or [])
    places = {axis_of(call, axis, rank) for axis in chosen or []}
    rest = iter(x.shape)
    return x.reshape([1 if axis in places else next(rest) for axis in range(rank)])


@folds("Squeeze")
def squeeze(call: Call, x: Array, axes: Array | None = None) -> Array:
    """x without axes of size 1."""
    chosen = call.get("axes", None) if call.opset < 13 else fixed_integers(call, axes, "axes") or None
    places = [axis_of(call, axis, x.ndim) for axis in chosen] if chosen else None
    if places and any(x.shape[place] != 1 for place in places):
        call.refuse("of an axis that is not of size 1")
    return x.squeeze() if places is None else x.squeeze(tuple(places))


@folds("Reshape")
def reshape(call: Call, x: Array, shape: Array) -> Array:
    """x in another shape."""
    wanted = fixed_integers(call, shape, "a shape")
    keep = not call.get("allowzero", 0)
    sizes = [x.shape[n] if keep and size == 0 and n < x.ndim else size for n, size in enumerate(wanted)]
    try:
        return x.reshape(sizes)
    except ValueError:
        call.refuse(f"of shape {list(x.shape)} to {wanted!r:.60}")


@folds("Transpose")
def transpose(call: Call, x: Array) -> Array:
    """x with its axes in another order."""
    perm = call.get("perm", None) or list(reversed(range(x.ndim)))
    if sorted(perm) != list(range(x.ndim)):
        call.refuse(f"with perm {perm}")
    return x.transpose(perm)


@folds("Slice")
def slice_(
    call: Call,
    x: Array,
    starts: Array | None = None,
    ends: Array | None = None,
    axes: Array | None = None,
    steps: Array | None = None,
) -> Array:
    """Parts of axes."""
    if call.opset < 10:
        first, last = list(call.get("starts", ())), list(call.get("ends", ()))
        places = list(call.get("axes", None) or range(len(first)))
        strides = [1] * len(first)
    else:
        first, last = fixed_integers(call, starts, "starts"), fixed_integers(call, ends, "ends")
        places = list(range(len(first))) if axes is None else fixed_integers(call, axes, "axes")
        strides = [1] * len(first) if steps is None else fixed_integers(call, steps, "steps")
    if not len(first) == len(last) == len(places) == len(strides) or 0 in strides:
        call.refuse("with starts, ends, axes and steps that do not go together")
    cuts = [slice(None)] * x.ndim
    for start, end, place, step in zip(first, last, places, strides, strict=True):
        axis = axis_of(call, place, x.ndim)
        size = x.shape[axis]
        begin, stop = clamped(start, size, step), clamped(end, size, step)
        cuts[axis] = slice(begin, None if stop < 0 else stop, step)
    return x[tuple(cuts)]


def clamped(index: int, size: int, step: int) -> int:
    """A start or an end of a slice within 0..size, or -1..size-1 where it runs backwards (-1 is before the first)."""
    index = index + size if index < 0 else index
    return min(max(index, 0), size) if step > 0 else min(max(index, -1), size - 1)


@folds("Split")
def split(call: Call, x: Array, sizes: Array | None = None) -> list[Array]:
    """x in pieces along an axis."""
    axis = axis_of(call, call.get("axis", 0), x.ndim)
    given = call.get("split", None) if call.opset < 13 else (None if sizes is None else integers(sizes))
    pieces = piece_sizes(call, x.shape[axis], given)
    return [np.array(part) for part in np.split(x, np.cumsum(pieces)[:-1].tolist(), axis)]


def piece_sizes(call: Call, size: Dim, given: list[int] | None) -> list[int]:
    """The sizes of the pieces that an axis is split into."""
    if given is not None:
        if any(piece < 0 for piece in given) or sum(given) != size:
            call.refuse(f"with pieces {given!r:.60} of {size} elements")
        return given
    count = call.get("num_outputs", None) or call.results
    if not isinstance(size, int):
        call.refuse("along the batch")
    if count < 1:
        call.refuse(f"into {count} pieces")
    each = -(-size // count)
    last = size - each * (count - 1)
    if last < 0 or (call.opset < 18 and last != each):
        call.refuse(f"of {size} elements into {count} pieces")
    return [each] * (count - 1) + [last]


@folds("Cast")
def cast(call: Call, x: Array) -> Array | None:
    """x as another integer type or boolean; None for floats, which are for constants."""
    code = call.get("to", 0)
    call.get("saturate", 1)
    call.get("round_mode", None)
    dtype = DTYPES.get(code)
    if dtype is None or dtype.is_float:
        return None
    if x.dtype == object:
        return x if dtype.bytes >= 4 else None
    return cast_array(x, dtype)


def _binary(name: str, formula: Callable[[Any, Any], Any]) -> None:
    @folds(name)
    def compute(call: Call, a: Array, b: Array) -> Array | None:
        _check_broadcast(call, a, b)
        if a.dtype != object and b.dtype != object and a.dtype != b.dtype:
            call.refuse(f"of {a.dtype} and {b.dtype}")
        with np.errstate(all="ignore"):
            return np.asarray(formula(*_alike(a, b)))


def _alike(a: Array, b: Array) -> tuple[Array, Array]:
    """Both as objects where one is."""
    if object in (a.dtype, b.dtype):
        return a.astype(object), b.astype(object)
    return a, b


def _check_broadcast(call: Call, *arrays: Array) -> None:
    try:
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
    except ValueError:
        call.refuse("of shapes that do not broadcast")
    if prod(shape) > LARGEST:
        call.refuse(f"of {prod(shape)} integers")


_Formula = Callable[[Any, Any], Any]
_ARITHMETIC: dict[str, _Formula] = {"Add": np.add, "Sub": np.subtract, "Mul": np.multiply}
_LOGIC: dict[str, _Formula] = {"And": np.logical_and, "Or": np.logical_or, "Xor": np.logical_xor}
_EXTREMES: dict[str, _Formula] = {"Max": np.maximum, "Min": np.minimum}
_REDUCTIONS: dict[str, _Formula] = {
    "ReduceProd": lambda x, axes: np.prod(x, axes, x.dtype),
    "ReduceSum": lambda x, axes: np.sum(x, axes, x.dtype),
}

for _name, _formula in _ARITHMETIC.items():
    _binary(_name, _formula)


@folds("Div")
def divide(call: Call, a: Array, b: Array) -> Array:
    """a / b, towards zero."""
    _check_broadcast(call, a, b)
    a, b = np.broadcast_arrays(*_alike(a, b))
    if any(isinstance(x, Expr) for x in integers(b)):
        call.refuse("by a size that depends on the batch")
    if any(x == 0 for x in integers(b)):
        call.refuse("by 0")
    return _each(call, _divided, a, b)


def _divided(call: Call, a: Any, b: int) -> Any:
    if isinstance(a, Expr):
        return a // b if b > 0 and bounds(a)[0] >= 0 else call.refuse("of a size that may be negative")
    return abs(a) // abs(b) * (1 if (a < 0) == (b < 0) else -1)


def _each(call: Call, formula: Callable[..., Any], *arrays: Array) -> Array:
    """formula(call, element, ...) for elements of arrays of one shape; the type is that of the first."""
    flat = [formula(call, *items) for items in zip(*(integers(array) for array in arrays), strict=True)]
    result = objects(flat).reshape(arrays[0].shape)
    return result if any(isinstance(item, Expr) for item in flat) else result.astype(_kept(arrays[0]))


def _kept(array: Array) -> Any:
    return np.int64 if array.dtype == object else array.dtype


@folds("Mod")
def modulo(call: Call, a: Array, b: Array) -> Array:
    """The rest of a / b, of the sign of b, or with fmod of a."""
    _check_broadcast(call, a, b)
    fmod = call.get("fmod", 0)
    a, b = np.broadcast_arrays(*_alike(a, b))
    if any(isinstance(x, Expr) or x == 0 for x in integers(b)):
        call.refuse("by 0 or by a size of the batch")

    def rest(call: Call, x: Any, y: int) -> Any:
        if isinstance(x, Expr):
            return x - x // y * y if y > 0 else call.refuse("by a negative number")
        return x - _divided(call, x, y) * y if fmod else x % y

    return _each(call, rest, a, b)


def _comparison(name: str, sign: Callable[[Any, Any], bool]) -> None:
    def decided(call: Call, x: Any, y: Any) -> bool:
        if isinstance(x, Expr) or isinstance(y, Expr):
            low, high = bounds(x - y)
            answers = {sign(value, 0) for value in {low, high, *([0, 1, -1] if low < 0 < high else [])}}
            if len(answers) != 1:
                call.refuse("of sizes that depend on the batch")
            return answers.pop()
        return bool(sign(x, y))

    @folds(name)
    def compare(call: Call, a: Array, b: Array) -> Array:
        _check_broadcast(call, a, b)
        a, b = np.broadcast_arrays(a, b)
        pairs = zip(integers(a), integers(b), strict=True)
        return np.array([decided(call, x, y) for x, y in pairs], np.bool_).reshape(a.shape)


_SIGNS: dict[str, Callable[[Any, Any], bool]] = {
    "Equal": lambda x, y: x == y,
    "Less": lambda x, y: x < y,
    "Greater": lambda x, y: x > y,
    "LessOrEqual": lambda x, y: x <= y,
    "GreaterOrEqual": lambda x, y: x >= y,
}
for _name, _sign in _SIGNS.items():
    _comparison(_name, _sign)


def _logical(name: str, formula: Callable[[Any, Any], Any]) -> None:
    @folds(name)
    def compute(call: Call, a: Array, b: Array) -> Array | None:
        _check_broadcast(call, a, b)
        return np.asarray(formula(a, b)) if a.dtype == b.dtype == np.bool_ else None


for _name, _formula in _LOGIC.items():
    _logical(_name, _formula)


@folds("Not")
def negate(call: Call, x: Array) -> Array | None:
    """True where x is false."""
    return ~x if x.dtype == np.bool_ else None


@folds("Neg")
def minus(call: Call, x: Array) -> Array:
    """-x."""
    return x * -1 if x.dtype == object else np.negative(x)


@folds("Where")
def where(call: Call, condition: Array, a: Array, b: Array) -> Array | None:
    """a where the condition holds, b elsewhere."""
    _check_broadcast(call, condition, a, b)
    if condition.dtype != np.bool_:
        return None
    return np.where(condition, *_alike(a, b))


def _extreme_of_sizes(call: Call, largest: bool, arrays: Sequence[Array]) -> Array:
    def chosen(call: Call, *values: Any) -> Any:
        for value in values:
            if all(at_least(value, other) if largest else at_least(other, value) for other in values):
                return value
        return call.refuse("of sizes that depend on the batch")

    return _each(call, chosen, *arrays)


def _extreme(name: str, formula: Callable[[Any, Any], Any]) -> None:
    @folds(name)
    def compute(call: Call, *arrays: Array) -> Array | None:
        _check_broadcast(call, *arrays)
        if any(array.dtype == object for array in arrays):
            return _extreme_of_sizes(call, formula is np.maximum, np.broadcast_arrays(*arrays))
        if any(array.dtype != arrays[0].dtype for array in arrays):
            return None
        total = arrays[0]
        for array in arrays[1:]:
            total = formula(total, array)
        return np.asarray(total)


for _name, _formula in _EXTREMES.items():
    _extreme(_name, _formula)


@folds("Range")
def range_(call: Call, start: Array, limit: Array, delta: Array) -> Array | Places | None:
    """start, start + delta, ... before limit."""
    ends = integers(limit)
    if len(ends) == 1 and isinstance(ends[0], Expr) and (integers(start), integers(delta)) == ([0], [1]):
        return Places(ends[0], 1, np.zeros(1, np.int64))
    first, last, step = (fixed_integers(call, array, "a range")[0] for array in (start, limit, delta))
    if step == 0:
        call.refuse("with a delta of 0")
    if max(0, -(-(last - first) // step)) > LARGEST:
        call.refuse("of so many numbers")
    return np.array(range(first, last, step), _kept(start))


@imports("ConstantOfShape")
def constant_of_shape(call: Call, shape: Operand) -> Result:
    """One number everywhere."""
    from alula.frontends.onnx.shape import broadcast

    value = call.get("value", np.zeros(1, np.float32))
    dims = call.dims(shape, "a shape")
    if any(isinstance(dim, int) and not 0 <= dim <= LARGEST_SIZE for dim in dims):
        call.refuse(f"with a shape {list(dims)!r:.60}")
    few = checked(call, dims)
    if value.size != 1:
        call.refuse("with a value of several elements")
    if few is not None:
        return call.graph.constant(np.full(few, value.reshape(-1)[0], value.dtype))
    return broadcast(call, call.graph.constant(value.reshape(())), *dims)


@folds("Expand")
def expand(call: Call, x: Array, shape: Array) -> Array | None:
    """x repeated to a shape."""
    wanted = integers(shape)
    if not all(isinstance(dim, int) and dim >= 0 for dim in wanted):
        return None
    try:
        whole = np.broadcast_shapes(x.shape, tuple(wanted))
    except ValueError:
        call.refuse(f"of {list(x.shape)} to {wanted!r:.60}")
    return np.broadcast_to(x, whole).copy() if checked(call, whole) is not None else None


@folds("Tile")
def tile(call: Call, x: Array, repeats: Array) -> Array | None:
    """x repeated along its axes."""
    times = fixed_integers(call, repeats, "repeats")
    if len(times) != x.ndim or any(count < 0 for count in times):
        call.refuse(f"with repeats {times!r:.60}")
    return np.tile(x, times) if x.size * prod(times) <= LARGEST else None


def _reduction(name: str, formula: Callable[[Any, Any], Any]) -> None:
    @folds(name)
    def compute(call: Call, x: Array, axes: Array | None = None) -> Array | None:
        moved = 13 if name == "ReduceSum" else 18
        chosen = call.get("axes", None) if call.opset < moved else (None if axes is None else integers(axes))
        noop = call.get("noop_with_empty_axes", 0)
        if not chosen and noop:
            return x
        places = tuple(axis_of(call, axis, x.ndim) for axis in chosen or range(x.ndim))
        keep = bool(call.get("keepdims", 1))
        if x.dtype == object:
            if name not in ("ReduceSum", "ReduceProd"):
                call.refuse("of sizes that depend on the batch")
            total = np.sum(x, places) if name == "ReduceSum" else np.prod(x, places)
        else:
            total = formula(x, places)
        return np.asarray(total).reshape(
            [1 if axis in places else size for axis, size in enumerate(x.shape) if keep or axis not in places]
        )


for _name, _formula in _REDUCTIONS.items():
    _reduction(_name, _formula)


@folds("NonZero")
def nonzero(call: Call, x: Array) -> Array:
    """The places of elements that are not 0, a column for each."""
    fixed_integers(call, x, "elements")
    return np.array(np.nonzero(x), np.int64)
