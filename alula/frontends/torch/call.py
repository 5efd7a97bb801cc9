"""What importers of operators see: the registry they are in, and the call that one of them brings into the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from alula.core.dtype import DType
from alula.frontends.call import GraphCall, channels_last, registers
from alula.ir.graph import Value
from alula.ir.types import TensorType

Number = bool | int | float
Operand = Value | Number
Result = Value | Sequence[Value | None]
Importer = Callable[..., Result]

IMPORTS: dict[str, Importer] = {}

F = TypeVar("F", bound=Importer)


def imports(*names: str) -> Callable[[F], F]:
    """Make a function the importer of the operators of these names, `aten.conv2d.default`.

    It is called as importer(call, *arguments, **keywords) with tensors as Values, sizes as dimensions, and gives a
    Value, or several in PyTorch's order: None stands for one that we cannot give.  It must name every argument that
    changes the result.  Raises GraphError for a name that has an importer.
    """
    return registers(IMPORTS, names)


@dataclass(slots=True)
class Call(GraphCall):
    """One operator call: the graph it goes to and `types`, what PyTorch says that its results are."""

    types: tuple[TensorType, ...]

    @property
    def type(self) -> TensorType:
        """The type of its first result."""
        return self.types[0]

    def operand(self, value: Operand, dtype: DType) -> Value:
        """A tensor cast to `dtype`, or a number as a constant of rank 0, as PyTorch promotes them."""
        if isinstance(value, Value):
            return self.cast(value, dtype)
        if not isinstance(value, Number):
            self.refuse(f"with the size {value} as a number")
        return self.constant(value, dtype)


def axis_of(axis: int, rank: int) -> int:
    """`axis` counted from the front; the only axis PyTorch allows for rank 0 is 0 or -1."""
    return axis % max(rank, 1)


def axes_of(axes: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """`axes` counted from the front and sorted; all of them for None or none."""
    chosen = [axes] if isinstance(axes, int) else list(axes or range(rank))
    return tuple(sorted({axis_of(axis, rank) for axis in chosen})) if rank else ()


def pair(sizes: int | Sequence[int]) -> tuple[int, int]:
    """(height, width) of an argument that PyTorch takes as one number or two."""
    first, *rest = [sizes] if isinstance(sizes, int) else sizes
    return first, rest[0] if rest else first


def image(call: Call, x: Value) -> Value:
    """x[n,c,h,w] as y[n,h,w,c]; refused unless it has a batch."""
    if x.type.rank != 4:
        call.refuse(f"of an input {x.type} without a batch")
    return channels_last(call, x)
