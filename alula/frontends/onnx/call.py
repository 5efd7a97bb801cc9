"""What importers of operators see: the registries they are in, and the node that one of them brings into the graph."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np

from alula.core.dims import Dim, Expr
from alula.core.dtype import Array, DType, cast_array
from alula.frontends.call import GraphCall, registers
from alula.ir.graph import Value
from alula.ir.op import Op, infer_types
from alula.ir.types import TensorType
from alula.ops.elementwise import Cast
from alula.ops.gather import Gather
from alula.ops.logic import Where
from alula.ops.reference import apply_op
from alula.ops.shape import Concat, Expand, Pad, Reshape, Slice, Transpose
from alula.ops.unfold import Unfold

FREE_BYTES = 1 << 20  # a constant may be computed to that size, or to
GROWTH = 4  # times what it is made from

STORED: tuple[type[Op], ...] = (Cast, Concat, Expand, Gather, Pad, Reshape, Slice, Transpose, Unfold, Where)


@dataclass(frozen=True, eq=False, slots=True)
class Sizes:
    """Integers of which some depend on the batch: `dims` is an array of dimensions, as an i64 tensor."""

    dims: Array


@dataclass(frozen=True, eq=False, slots=True)
class Places:
    """Integers b * step + offsets, b counting from 0 to `count`, the batch, along a first axis that offsets repeat."""

    count: Dim
    step: int
    offsets: Array

    @property
    def shape(self) -> tuple[Dim, ...]:
        """Of the tensor that it stands for."""
        return (self.count, *self.offsets.shape[1:])


Operand = Value | Sizes | Places | None
Result = Value | Sizes | Places | Sequence[Value | Sizes | None]
Importer = Callable[..., Result]

IMPORTS: dict[str, Importer] = {}
FOLDS: dict[str, Callable[..., Any]] = {}
COUNTS: dict[str, Callable[..., Any]] = {}

F = TypeVar("F", bound=Callable[..., Any])


def imports(*names: str) -> Callable[[F], F]:
    """Make a function the importer of the operators of these names, `Conv`.

    It is called as importer(call, *operands) with a Value for each operand, None for one that is left out, and gives a
    Value, or several in ONNX's order: None stands for one that we cannot give.  It must read every attribute that
    changes the result.  Raises GraphError for a name that has an importer.
    """
    return registers(IMPORTS, names)


def folds(*names: str) -> Callable[[F], F]:
    """Make a function what computes these operators where all elements are known, as integers, booleans or dimensions.

    It is called as fold(call, *arrays), None for one that is left out, and gives an array or several.
    """
    return registers(FOLDS, names)


def counts(*names: str) -> Callable[[F], F]:
    """Make a function what these operators do with `Places` among their operands; it is called as an importer is."""
    return registers(COUNTS, names)


@dataclass(slots=True)
class Call(GraphCall):
    """One node: the graph it goes to, its attributes, the version of its operator and how many results are wanted."""

    attributes: dict[str, Any]
    opset: int
    results: int
    read: set[str] = field(default_factory=set)

    def get(self, name: str, default: Any = None) -> Any:
        """An attribute as a Python value: number, text, array or a list of those."""
        self.read.add(name)
        return self.attributes.get(name, default)

    def check_read(self) -> None:
        """Refuse the operator if it has an attribute that was not asked for."""
        if unread := sorted(set(self.attributes) - self.read):
            self.refuse(f"with attribute {', '.join(unread)}")

    def add(self, op: Op, *inputs: Value) -> Value:
        """The output of a new node, or of constants the constant that it would be.

        Halves are widened to be computed with, and each result is rounded to what the operands were.
        """
        narrow = next((v.type.dtype for v in inputs if v.type.dtype in (DType.F16, DType.BF16)), None)
        if narrow is not None and not isinstance(op, STORED):
            wide = self.add(op, *(self.cast(v, DType.F32) if v.type.dtype is narrow else v for v in inputs))
            return self.cast(wide, narrow) if wide.type.dtype is DType.F32 else wide
        if inputs and all(value.is_constant for value in inputs):
            arrays = [value.data for value in inputs if value.data is not None]
            sizes = [type.bytes for type in infer_types(op, [value.type for value in inputs])]
            most = FREE_BYTES + GROWTH * sum(array.nbytes for array in arrays)
            if len(sizes) == 1 and isinstance(sizes[0], int) and sizes[0] <= most:
                return self.graph.constant(np.require(apply_op(op, *arrays)[0], requirements="C"), inputs[0].name)
        return self.graph.add(op, *inputs)

    def like(self, number: float, x: Value) -> Value:
        """A number in the element type of x."""
        return self.constant(number, x.type.dtype)

    def array(self, value: Operand, what: str) -> Array:
        """The elements of an operand that has to be known."""
        if not isinstance(value, Value) or value.data is None:
            self.refuse(f"with {what} that is not constant", *([value] if isinstance(value, Value) else []))
        return value.data

    def number(self, value: Operand, what: str) -> float:
        """The only element of an operand that has to be known."""
        array = self.array(value, what)
        if array.size != 1:
            self.refuse(f"with {what} of {array.size} elements")
        return float(cast_array(array, DType.F64).reshape(-1)[0])

    def ints(self, value: Operand, what: str) -> list[int]:
        """The elements of a vector of integers that has to be known."""
        return [int(item) for item in self.array(value, what).reshape(-1).tolist()]

    def dims(self, value: Operand, what: str) -> tuple[Dim, ...]:
        """The elements of a vector of sizes."""
        if isinstance(value, Places):
            self.refuse(f"with {what} that counts the batch")
        if isinstance(value, Sizes):
            return tuple(value.dims.reshape(-1).tolist())
        return tuple(self.ints(value, what))


def axis_of(call: Call, axis: int, rank: int) -> int:
    """`axis` counted from the front."""
    if not -rank <= axis < max(rank, 1):
        call.refuse(f"with axis {axis} of rank {rank}")
    return axis % max(rank, 1)


def sizes_or_constant(call: Call, array: Array) -> Value | Sizes:
    """Known integers as a constant, others as sizes."""
    if array.dtype != object:
        return call.graph.constant(np.asarray(array))
    if any(isinstance(item, Expr) for item in array.reshape(-1).tolist()):
        return Sizes(array)
    return call.graph.constant(array.astype(np.int64))


def type_text(value: Operand) -> str:
    """The type of an operand for messages."""
    return str(value.type) if isinstance(value, Value) else "nothing" if value is None else "sizes"


def typed(dtype: DType, *shape: Dim) -> TensorType:
    """A type."""
    return TensorType(dtype, shape)
