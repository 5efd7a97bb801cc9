"""The one symbolic size of a program: its batch."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from alula.core.errors import ImportFailed, UsageError
from alula.frontends.torch.export import LARGEST_BATCH, DimRange

NAME = "N"


@dataclass(frozen=True, slots=True)
class Batch:
    """Our name of the batch, PyTorch's, and its smallest and largest value."""

    torch_name: str
    bounds: tuple[int, int]
    name: str = NAME


def batch_of(
    inputs: Iterable[tuple[str, Tensor]], constraints: Mapping[Any, Any], dim_range: DimRange | None
) -> Batch | None:
    """The symbol that stands in dimension 0 of inputs, with its range; None for a program of fixed shapes.

    `constraints` are the program's ranges, `dim_range` narrows them.  Raises ImportFailed for another symbolic size,
    UsageError for a `dim_range` that the program does not cover.
    """
    tensors = list(inputs)
    symbols: dict[Any, str] = {}
    for name, tensor in tensors:
        for axis, expression in _symbolic(tensor):
            if axis or not expression.is_Symbol:
                raise ImportFailed(f"torch input {name}: expected a symbolic batch alone, got shape {_shape(tensor)}")
            symbols[expression] = name
    if len(symbols) > 1:
        raise ImportFailed(f"torch inputs {', '.join(symbols.values())}: expected one batch, got {len(symbols)}")
    allowed = _bounds(constraints.get(next(iter(symbols)))) if symbols else None
    if dim_range is not None and tensors:
        allowed = _narrowed(*tensors[0], allowed, dim_range)
    return Batch(next(iter(symbols)).name, allowed) if symbols and allowed else None


def _symbolic(tensor: Tensor) -> Iterator[tuple[int, Any]]:
    """Axis and sympy expression of every size that is not fixed."""
    sizes: Iterable[Any] = tensor.shape
    for axis, size in enumerate(sizes):
        if isinstance(size, torch.SymInt) and not size.node.expr.is_Integer:
            yield axis, size.node.expr


def _bounds(constraint: Any) -> tuple[int, int]:
    """PyTorch's range with ends that we allow: a batch has an image, and no upper bound becomes the usual one."""
    if constraint is None:
        return 1, LARGEST_BATCH
    low, high = constraint.lower, constraint.upper
    return max(int(low), 1), int(high) if high.is_Integer else max(LARGEST_BATCH, int(low))


def _narrowed(name: str, tensor: Tensor, allowed: tuple[int, int] | None, dim_range: DimRange) -> tuple[int, int]:
    smallest, largest = (tuple(end) for end in dim_range)
    first = tensor.shape[0] if tensor.ndim else 1
    low, high = allowed or (int(first), int(first))
    rest = tuple(tensor.shape[1:])
    fits = len(smallest) == len(largest) == tensor.ndim and smallest[1:] == largest[1:] == rest
    if not fits or not low <= smallest[0] <= largest[0] <= high:
        wanted = f"shapes within {(low, *rest)} to {(high, *rest)}"
        raise UsageError(f"dim range of input {name}: expected {wanted}, got {smallest} to {largest}")
    return smallest[0], largest[0]


def _shape(tensor: Tensor) -> str:
    return f"[{', '.join(map(str, tensor.shape))}]"
