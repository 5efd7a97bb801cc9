"""The types of a model's inputs, and the one size among them that stays open: the batch."""

from __future__ import annotations

from collections.abc import Iterable

from onnx import TensorShapeProto, ValueInfoProto

from alula.core.dims import LARGEST_SIZE, Dim, symbol
from alula.core.errors import ImportFailed, UsageError
from alula.frontends.onnx import DimRange
from alula.frontends.onnx.source import dtype_of
from alula.ir.types import TensorType

NAME = "N"
LARGEST_BATCH = 512


def input_types(
    inputs: Iterable[ValueInfoProto], dim_range: DimRange | None
) -> tuple[dict[str, TensorType], tuple[int, int] | None]:
    """The type of every input by name, and the range of the batch; None for it where all sizes are fixed.

    A size that is open is the batch where it comes first; others have to be fixed by a `dim_range` of equal ends, which
    is of the first input.  Raises ImportFailed for an input that is no tensor or leaves another size open, UsageError
    for a `dim_range` that the first input does not cover.
    """
    types: dict[str, TensorType] = {}
    batch: tuple[int, int] | None = None
    names: dict[str, str] = {}
    limits = dim_range
    for value in inputs:
        if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
            raise ImportFailed(f"onnx input {value.name}: expected a tensor of known rank, got another")
        if value.name in types:
            raise ImportFailed(f"onnx input {value.name}: expected one of that name, got two")
        tensor = value.type.tensor_type
        ranges = _ranges(value.name, list(tensor.shape.dim), limits)
        limits = None
        shape: list[Dim] = []
        for axis, (low, high) in enumerate(ranges):
            if low == high:
                shape.append(low)
                continue
            name = tensor.shape.dim[axis].dim_param
            if axis:
                raise ImportFailed(
                    f"onnx input {value.name}: expected an open batch alone, got {_shape(list(tensor.shape.dim))}: "
                    "a dim range whose ends are equal there fixes the others"
                )
            names.setdefault(name, value.name)
            shape.append(symbol(NAME))
            batch = (low, high) if batch is None else (max(batch[0], low), min(batch[1], high))
        types[value.name] = TensorType(dtype_of(tensor.elem_type, f"onnx input {value.name}"), tuple(shape))
    if len([name for name in names if name]) > 1:
        raise ImportFailed(f"onnx inputs {', '.join(names.values())}: expected one batch, got {', '.join(names)}")
    return types, batch


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
