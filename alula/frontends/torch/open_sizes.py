"""The sizes of a program's inputs that stay open: its batch, and others that it was exported for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from alula.core.errors import ImportFailed, UsageError
from alula.frontends.symbols import BATCH, LARGEST_BATCH, axis_name
from alula.frontends.torch.export import DimRange

Range = tuple[int, int]


@dataclass(frozen=True, slots=True)
class OpenSize:
    """PyTorch's name of a size, ours, and its smallest and largest value."""

    torch_name: str
    name: str
    bounds: Range


def open_sizes_of(
    inputs: Iterable[tuple[str, Tensor]], constraints: Mapping[Any, Any], dim_range: DimRange | None
) -> list[OpenSize]:
    """What stands open in the inputs' shapes, the batch, which is of dimension 0, first.

    `constraints` are the program's ranges, `dim_range` narrows them.  Raises ImportFailed for sizes that are computed
    from others, two batches, a size of another input than the first that is not one of the first's too, and one without
    a largest value; UsageError for a `dim_range` that the program does not cover.
    """
    tensors = list(inputs)
    names: dict[Any, str] = {}
    for number, (name, tensor) in enumerate(tensors):
        for axis, expression in _symbolic(tensor):
            if not expression.is_Symbol or (number and axis and expression not in names):
                raise ImportFailed(
                    f"torch input {name}: expected a batch, or sizes of the first input, got shape {_shape(tensor)}"
                )
            names.setdefault(expression, axis_name(axis, tensor.ndim))
    if list(names.values()).count(BATCH) > 1:
        batched = [name for name, tensor in tensors if any(axis == 0 for axis, _ in _symbolic(tensor))]
        raise ImportFailed(f"torch inputs {', '.join(batched)}: expected one batch, got {len(batched)}")
    ranges = {symbol: _bounds(constraints.get(symbol), name) for symbol, name in names.items()}
    if dim_range is not None and tensors:
        ranges |= _narrowed(*tensors[0], ranges, dim_range)
    found = []
    for symbol, name in names.items():
        least, most = ranges[symbol]
        if most is None:
            raise ImportFailed(
                f"torch size {name}: expected a largest value, got none: a dim range of the first input gives it"
            )
        found.append(OpenSize(symbol.name, name, (least, most)))
    return sorted(found, key=lambda size: size.name != BATCH)


def _symbolic(tensor: Tensor) -> Iterator[tuple[int, Any]]:
    """Axis and sympy expression of every size that is not fixed."""
    sizes: Iterable[Any] = tensor.shape
    for axis, size in enumerate(sizes):
        if isinstance(size, torch.SymInt) and not size.node.expr.is_Integer:
            yield axis, size.node.expr


def _bounds(constraint: Any, name: str) -> tuple[int, int | None]:
    """PyTorch's range with ends that we allow: a size is 1 or more, a batch without an upper end has the usual one."""
    low = 1 if constraint is None else max(int(constraint.lower), 1)
    if constraint is not None and constraint.upper.is_Integer:
        return low, int(constraint.upper)
    return low, max(LARGEST_BATCH, low) if name == BATCH else None


def _narrowed(
    name: str, tensor: Tensor, ranges: Mapping[Any, tuple[int, int | None]], dim_range: DimRange
) -> dict[Any, Range]:
    """The ranges of the tensor's open sizes within `dim_range`."""
    smallest, largest = (tuple(end) for end in dim_range)
    open_axes = dict(_symbolic(tensor))
    allowed: list[tuple[int, int | None]] = [
        ranges[open_axes[axis]] if axis in open_axes else (int(size), int(size))
        for axis, size in enumerate(tensor.shape)
    ]
    ends = list(zip(smallest, largest, strict=False))
    fits = len(smallest) == len(largest) == tensor.ndim and all(
        low <= least <= most and (high is None or most <= high)
        for (least, most), (low, high) in zip(ends, allowed, strict=True)
    )
    if not fits:
        whole = tuple(low for low, _ in allowed), tuple("any" if high is None else high for _, high in allowed)
        wanted = f"shapes within {whole[0]} to {whole[1]}"
        raise UsageError(f"dim range of input {name}: expected {wanted}, got {smallest} to {largest}")
    return {symbol: ends[axis] for axis, symbol in open_axes.items()}


def _shape(tensor: Tensor) -> str:
    return f"[{', '.join(map(str, tensor.shape))}]"
