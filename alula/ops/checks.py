"""What the ops' `infer` share: checks of dtypes, axes and broadcasting, each raising ShapeError."""

from __future__ import annotations

from collections.abc import Iterable

from alula.core.dims import Dim, at_least
from alula.core.dtype import DType
from alula.core.errors import ShapeError
from alula.ir.types import TensorType

FLOATS = frozenset(dtype for dtype in DType if dtype.is_float)
NUMBERS = frozenset(DType) - {DType.BOOL}


def check_dtype(x: TensorType, allowed: Iterable[DType]) -> None:
    """`x` has one of the allowed element types."""
    if x.dtype not in allowed:
        raise ShapeError(f"expected {' or '.join(dtype.value for dtype in DType if dtype in allowed)}, got {x}")


def check_same_dtype(first: TensorType, *others: TensorType | None) -> None:
    """All have the element type of the first; None stands for an operand that is not there."""
    for other in others:
        if other is not None and other.dtype is not first.dtype:
            raise ShapeError(f"expected {first.dtype}, got {other}")


def check_shape(what: str, x: TensorType | None, *shape: Dim) -> None:
    """`x`, called `what` in the message, has this shape; None is an operand that is not there."""
    if x is not None and x.shape != shape:
        raise ShapeError(f"expected {what}[{','.join(map(str, shape))}], got {x}")


def check_axis(x: TensorType, axis: int) -> None:
    """`axis` counts from the front and is there."""
    if not 0 <= axis < x.rank:
        raise ShapeError(f"expected an axis of 0..{x.rank - 1}, got {axis} for {x}")


def check_rank(x: TensorType, least: int) -> None:
    """`x` has at least so many dimensions."""
    if x.rank < least:
        raise ShapeError(f"expected rank {least} or more, got {x}")


def check_epsilon(eps: float) -> None:
    """What is added to a variance is finite and not negative."""
    if not 0 <= eps < float("inf"):
        raise ShapeError(f"expected a finite eps >= 0, got {eps}")


def check_at_least(what: str, value: Dim, least: Dim) -> None:
    """`value` >= `least` whatever the named sizes are (each is 1 or more)."""
    if not at_least(value, least):
        raise ShapeError(f"expected {what} of {least} or more, got {value}")


def broadcast(a: tuple[Dim, ...], b: tuple[Dim, ...]) -> tuple[Dim, ...]:
    """NumPy's broadcast shape; a named size fits itself and 1."""
    rank = max(len(a), len(b))
    pairs = zip((1,) * (rank - len(a)) + a, (1,) * (rank - len(b)) + b, strict=True)
    return tuple(_broadcast_dim(x, y, a, b) for x, y in pairs)


def _broadcast_dim(x: Dim, y: Dim, a: tuple[Dim, ...], b: tuple[Dim, ...]) -> Dim:
    if x == y or y == 1:
        return x
    if x == 1:
        return y
    raise ShapeError(f"expected shapes that broadcast, got [{','.join(map(str, a))}] and [{','.join(map(str, b))}]")
