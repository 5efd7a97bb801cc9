"""What TorchScript computes beside tensors: numbers, lists, texts; and how it writes down element types."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch

SIZE_AS_FLOAT: Callable[[Any], Any] = torch.sym_float
SIZE_AS_INT: Callable[[Any], Any] = torch.sym_int
DTYPES = (  # by PyTorch's number of an element type
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16, torch.float32, torch.float64),
    *(torch.complex32, torch.complex64, torch.complex128, torch.bool, torch.qint8, torch.quint8, torch.qint32),
    torch.bfloat16,
)


def whole(x: Any) -> Any:
    """A number or a tensor of one element as an integer; a symbolic size stays one."""
    return x if isinstance(x, int | torch.SymInt) else SIZE_AS_INT(x)


def size(x: Any, axis: int | None = None) -> Any:
    """The sizes of a tensor, or one of them."""
    return list(x.shape) if axis is None else x.shape[axis]


def add(a: Any, b: Any, alpha: Any = 1) -> Any:
    """a + alpha * b; of lists one after the other."""
    return a + b if alpha == 1 else a + alpha * b


def sub(a: Any, b: Any, alpha: Any = 1) -> Any:
    """a - alpha * b."""
    return a - b if alpha == 1 else a - alpha * b


def rsub(a: Any, b: Any, alpha: Any = 1) -> Any:
    """b - alpha * a."""
    return sub(b, a, alpha)


def converted(x: Any, dtype: int, *_: Any) -> Any:
    """A number as one of an element type."""
    return SIZE_AS_FLOAT(x) if DTYPES[dtype].is_floating_point else whole(x)


def div(a: Any, b: Any, rounding_mode: str | None = None) -> Any:
    """a / b, rounded down or towards zero where that is asked for."""
    if rounding_mode is None:
        return a / b
    return a // b if rounding_mode == "floor" else math.trunc(a / b)


def cut(values: list[Any], start: int | None, end: int | None, step: int) -> list[Any]:
    """values[start:end:step]."""
    return values[start:end:step]


def append(values: list[Any], value: Any) -> list[Any]:
    """The list itself with one more."""
    values.append(value)
    return values


def contains(values: Any, value: Any) -> bool:
    """Whether a list, dictionary or text holds it."""
    return value in values


def text(pattern: str, *values: Any) -> str:
    """The text with values for its braces."""
    return pattern.format(*values)


def derived_index(index: int, start: int, step: int) -> int:
    """The number that a range has at an index."""
    return start + index * step


def range_length(start: int, stop: int, step: int) -> int:
    """How many numbers a range has."""
    return len(range(start, stop, step))


NUMERIC: Mapping[str, Callable[..., Any]] = {  # in Python where no operand is a tensor, and PyTorch's operator else
    "add": add,
    "sub": sub,
    "rsub": rsub,
    "to": converted,
    "mul": operator.mul,
    "div": div,
    "floordiv": operator.floordiv,
    "floor_divide": operator.floordiv,
    "remainder": operator.mod,
    "pow": operator.pow,
    "neg": operator.neg,
    "abs": abs,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": round,
    "sqrt": math.sqrt,
    "log": math.log,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "__and__": operator.and_,
    "__or__": operator.or_,
    "slice": cut,
    "format": text,
}

ALWAYS: Mapping[str, Callable[..., Any]] = {  # whatever the operands are
    "size": size,
    "dim": lambda x: x.dim(),
    "numel": lambda x: x.numel(),
    "len": len,
    "Int": whole,
    "IntImplicit": whole,
    "Float": SIZE_AS_FLOAT,
    "FloatImplicit": SIZE_AS_FLOAT,
    "ScalarImplicit": lambda x: x.item() if isinstance(x, torch.Tensor) else x,
    "Bool": bool,
    "is_floating_point": lambda x: x.is_floating_point(),
    "__is__": operator.is_,
    "__isnot__": operator.is_not,
    "__not__": operator.not_,
    "__contains__": contains,
    "__getitem__": operator.getitem,
    "__derive_index": derived_index,
    "__range_length": range_length,
    "append": append,
    "list": list,
    "warn": lambda *_: None,
}
