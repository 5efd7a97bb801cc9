"""What an op is: frozen attributes, type inference and a NumPy reference, registered under one name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, fields, replace
from functools import cache
from inspect import Parameter, signature
from typing import Any, ClassVar, TypeVar, dataclass_transform, get_type_hints

from alula.core.dims import Dim, Expr
from alula.core.errors import GraphError, ShapeError
from alula.ir.attributes import checked_attribute
from alula.ir.types import TensorType


@dataclass_transform(frozen_default=True)
class Op:
    """Base of all ops.  A subclass is a frozen dataclass whose fields are the attributes.

    Raises GraphError for an attribute that is not what its field is annotated with.
    """

    __slots__ = ()
    name: ClassVar[str]

    def __post_init__(self) -> None:
        for field, hint in _attribute_types(type(self)).items():  # type: ignore[arg-type]
            value = checked_attribute(f"{self.name} {field}", hint, getattr(self, field))
            object.__setattr__(self, field, value)

    def infer(self, *types: Any, **_: Any) -> TensorType | tuple[TensorType, ...]:
        """Types of the outputs.  Raises ShapeError for operands or attribute values that do not fit."""
        raise TypeError(f"{self.name} has no infer")

    def reference(self, *arrays: Any, **_: Any) -> Any:
        """The output array, or a tuple of them, in NumPy: the shortest correct way, never optimised.

        The operands must be what `infer` accepted, in dtypes that NumPy has, and the attributes without named sizes
        (`at`); `alula.ops.reference` sees to both.
        """
        raise TypeError(f"{self.name} has no reference")

    def macs(self, types: Sequence[TensorType], outputs: Sequence[TensorType]) -> Dim:
        """Multiply-adds of one execution; 0 for ops that only move or map elements."""
        return 0

    def at(self, sizes: Mapping[str, int]) -> Op:
        """The same op with the named sizes put in its attributes; others stay names."""
        bound = {key: _put_in(value, sizes) for key, value in self.attributes().items()}
        return replace(self, **bound)  # type: ignore[type-var]

    def attributes(self) -> dict[str, Any]:
        """The attributes that differ from their defaults, in field order."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}  # type: ignore[arg-type]
        return {key: value for key, (value, default) in values.items() if default is MISSING or value != default}


OPS: dict[str, type[Op]] = {}

O = TypeVar("O", bound=type[Op])  # noqa: E741


def register(op: O) -> O:
    """Make an op known by its name.  Raises GraphError for a second one of that name."""
    if op.name in OPS:
        raise GraphError(f"op {op.name}: expected one definition, got {OPS[op.name].__name__} and {op.__name__}")
    OPS[op.name] = op
    return op


def infer_types(op: Op, types: Sequence[TensorType]) -> tuple[TensorType, ...]:
    """The types of `op`'s outputs, always as a tuple.  Raises ShapeError, also for too few or too many operands."""
    least, most = operand_counts(type(op))  # type: ignore[arg-type]
    if len(types) < least or (most is not None and len(types) > most):
        wanted = str(least) if least == most else f"at least {least}" if most is None else f"{least} to {most}"
        raise ShapeError(f"expected {wanted} operands, got {len(types)}")
    inferred = op.infer(*types)
    return (inferred,) if isinstance(inferred, TensorType) else tuple(inferred)


@cache
def operand_counts(op: Any) -> tuple[int, int | None]:
    """The least and the greatest number of operands, from the signature of `infer`; None: there is no greatest."""
    parameters = list(signature(op.infer).parameters.values())[1:]
    plain = [parameter for parameter in parameters if parameter.kind is Parameter.POSITIONAL_OR_KEYWORD]
    least = sum(parameter.default is Parameter.empty for parameter in plain)
    return least, len(plain) if plain == parameters else None


@cache
def _attribute_types(op: Any) -> dict[str, Any]:
    hints = get_type_hints(op)
    return {field.name: hints[field.name] for field in fields(op)}


def _put_in(value: Any, sizes: Mapping[str, int]) -> Any:
    if isinstance(value, tuple):
        return tuple(_put_in(item, sizes) for item in value)
    return value.put_in(sizes) if isinstance(value, Expr) else value
