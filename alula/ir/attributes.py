"""The one place that says whether an attribute's value is what its field is annotated with."""

from __future__ import annotations

from reprlib import Repr
from types import UnionType
from typing import Any, get_args, get_origin

from alula.core.dims import LARGEST_SIZE, Expr
from alula.core.dtype import DType
from alula.core.errors import GraphError

_short = Repr()
_short.maxstring = _short.maxother = _short.maxlong = 40


def checked_attribute(what: str, hint: Any, value: Any) -> Any:
    """`value` in its one spelling: an integer given for a float becomes a float, a NumPy float a Python one.

    Hints: int, float, bool, str, DType, Dim, and tuples of them, fixed or `...`.  Raises GraphError, naming `what`, for
    a value of another type, integers beyond +-2**40 and NaN (which equals nothing, so no graph with it compares equal).
    """
    try:
        return _checked(hint, value)
    except (ValueError, OverflowError):
        raise GraphError(f"{what}: expected {_spelled(hint)}, got {_short.repr(value)}") from None


def _checked(hint: Any, value: Any) -> Any:
    if get_origin(hint) is tuple:
        return _checked_tuple(get_args(hint), value)
    if isinstance(hint, UnionType):  # Dim
        return value if isinstance(value, Expr) else _checked(int, value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
        if number == number:
            return number
    elif hint is int:
        if type(value) is int and -LARGEST_SIZE <= value <= LARGEST_SIZE:
            return value
    elif hint in (bool, str, DType) and type(value) is hint:
        return value
    raise ValueError


def _checked_tuple(hints: tuple[Any, ...], value: Any) -> tuple[Any, ...]:
    if not isinstance(value, tuple):
        raise ValueError
    if len(hints) == 2 and hints[1] is Ellipsis:
        hints = (hints[0],) * len(value)
    if len(hints) != len(value):
        raise ValueError
    return tuple(_checked(hint, item) for hint, item in zip(hints, value, strict=True))


def _spelled(hint: Any) -> str:
    if get_origin(hint) is tuple:
        return f"({', '.join('...' if item is Ellipsis else _spelled(item) for item in get_args(hint))})"
    return "dimension" if isinstance(hint, UnionType) else str(getattr(hint, "__name__", hint)).lower()
