"""The types of a model's inputs, and the sizes among them that stay open: the batch, height and width."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from onnx import TensorShapeProto, ValueInfoProto

from alula.core.dims import LARGEST_SIZE, Dim, Expr, symbol
from alula.core.errors import ImportFailed, UsageError
from alula.frontends.onnx import DimRange
from alula.frontends.onnx.source import dtype_of
from alula.frontends.symbols import BATCH, LARGEST_BATCH, axis_name
from alula.ir.types import TensorType


def input_types(
    inputs: Iterable[ValueInfoProto], dim_range: DimRange | None
) -> tuple[dict[str, TensorType], dict[str, tuple[int, int]]]:
    """The type of every input by name, and the ranges of the sizes that stay open: of the batch N first.

    A first size that is open is the batch.  Others that the file leaves open need a `dim_range`, which is of the first
    input: of equal ends it fixes them, of different ones they stay open within it.  Where the file gives open sizes
    one name they are one size.
    Raises ImportFailed for an input that is no tensor or leaves another size open, UsageError for a `dim_range` that
    the first input does not cover.
    """
    types: dict[str, TensorType] = {}
    ranges: dict[str, tuple[int, int]] = {}
    named: dict[str, Dim] = {}  # what the file's names of sizes stand for
    batches: dict[str, str] = {}
    limits = dim_range
    for value in inputs:
        if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
            raise ImportFailed(f"onnx input {value.name}: expected a tensor of known rank, got another")
        if value.name in types:
            raise ImportFailed(f"onnx input {value.name}: expected one of that name, got two")
        tensor = value.type.tensor_type
        dims = list(tensor.shape.dim)
        shape: list[Dim] = []
        for axis, (low, high) in enumerate(_ranges(value.name, dims, limits)):
            param = dims[axis].dim_param
            if limits is None and not dims[axis].HasField("dim_value"):
                if param in named and (axis == 0 or str(named[param]) != BATCH):
                    shape.append(named[param])
                    continue
                if axis:
                    raise ImportFailed(
                        f"onnx input {value.name}: expected an open batch alone, got {_shape(dims)}: "
                        "a dim range gives the others' smallest and largest, or one size where its ends are equal"
                    )
            dim: Dim = low if low == high else symbol(_name(param, axis, len(dims), named))
            if isinstance(dim, Expr):
                name = str(dim)
                least, most = ranges.get(name, (low, high))
                ranges[name] = max(least, low), min(most, high)
                if axis == 0:
                    batches.setdefault(param, value.name)
            if param:
                named[param] = dim
            shape.append(dim)
        limits = None
        types[value.name] = TensorType(dtype_of(tensor.elem_type, f"onnx input {value.name}"), tuple(shape))
    if len([name for name in batches if name]) > 1:
        raise ImportFailed(f"onnx inputs {', '.join(batches.values())}: expected one batch, got {', '.join(batches)}")
    return types, dict(sorted(ranges.items(), key=lambda item: item[0] != BATCH))


def _name(param: str, axis: int, rank: int, named: Mapping[str, Dim]) -> str:
    """Ours of an open size, the same for axes that the file gives one name."""
    known = named.get(param)
    return str(known) if axis and param and isinstance(known, Expr) and str(known) != BATCH else axis_name(axis, rank)


def _ranges(name: str, dims: list[TensorShapeProto.Dimension], dim_range: DimRange | None) -> list[tuple[int, int]]:
    """Smallest and largest size of each dimension."""
    allowed = []
    for dim in dims:
        known = dim.HasField("dim_value")
        if known and not 0 <= dim.dim_value <= LARGEST_SIZE:
            raise ImportFailed(f"onnx input {name}: expected sizes of 0..{LARGEST_SIZE}, got {dim.dim_value}")
        allowed.append((dim.dim_value, dim.dim_value) if known else (1, LARGEST_BATCH))
    if dim_range is None:
        return allowed
    smallest, largest = (tuple(end) for end in dim_range)
    ends = list(zip(smallest, largest, strict=False))
    fits = len(smallest) == len(largest) == len(dims) and all(
        1 <= low <= high <= LARGEST_SIZE and (not dim.HasField("dim_value") or low == high == dim.dim_value)
        for (low, high), dim in zip(ends, dims, strict=False)
    )
    if not fits:
        raise UsageError(
            f"dim range of input {name}: expected shapes within {_shape(dims)}, got {smallest} to {largest}"
        )
    return ends


def _shape(dims: list[TensorShapeProto.Dimension]) -> str:
    return f"[{', '.join(str(d.dim_value) if d.HasField('dim_value') else d.dim_param or '?' for d in dims)}]"
