"""What a value is: an element type and a shape whose dimensions may be symbolic."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alula.core.dims import LARGEST_SIZE, Dim, Expr, dim_at, dim_symbols, dim_with, product
from alula.core.dtype import Array, DType
from alula.core.errors import ShapeError

HIGHEST_RANK = 32


@dataclass(frozen=True, slots=True)
class TensorType:
    """dtype[shape]; rank 0 is `f32[]`, a dimension may be 0.

    Raises ShapeError for more than 32 dimensions and for fixed ones that are not of 0..2**40.
    """

    dtype: DType
    shape: tuple[Dim, ...]

    def __post_init__(self) -> None:
        if len(self.shape) > HIGHEST_RANK:
            raise ShapeError(f"expected rank {HIGHEST_RANK} or less, got {len(self.shape)}")
        for dim in self.shape:
            if not isinstance(dim, Expr) and (type(dim) is not int or not 0 <= dim <= LARGEST_SIZE):
                raise ShapeError(f"expected dimensions of 0..{LARGEST_SIZE}, got {self}")

    @classmethod
    def of(cls, array: Array) -> TensorType:
        """The type of a NumPy array."""
        return cls(DType.of(array), array.shape)

    @property
    def rank(self) -> int:
        """How many dimensions it has."""
        return len(self.shape)

    @property
    def elements(self) -> Dim:
        """How many elements it has."""
        return product(self.shape)

    @property
    def bytes(self) -> Dim:
        """How many bytes its elements take, without padding."""
        return self.elements * self.dtype.bytes

    def dims(self, names: str) -> tuple[Dim, ...]:
        """Its dimensions, one for each letter of `names`.  Raises ShapeError for another rank."""
        if len(names) != self.rank:
            raise ShapeError(f"expected rank {len(names)} ({','.join(names.lower())}), got {self}")
        return self.shape

    def reshaped(self, *shape: Dim) -> TensorType:
        """The same element type with another shape."""
        return TensorType(self.dtype, shape)

    def cast(self, dtype: DType) -> TensorType:
        """The same shape with another element type."""
        return TensorType(dtype, self.shape)

    def at(self, sizes: Mapping[str, int]) -> tuple[int, ...]:
        """Its shape in integers, with the named sizes put in."""
        return tuple(dim_at(dim, sizes) for dim in self.shape)

    def put_in(self, sizes: Mapping[str, int]) -> TensorType:
        """The type where some of the names are numbers.  Raises ShapeError for a dimension that becomes negative."""
        return self.reshaped(*(dim_with(dim, sizes) for dim in self.shape))

    def symbols(self) -> set[str]:
        """The names its shape depends on."""
        return {name for dim in self.shape for name in dim_symbols(dim)}

    def __str__(self) -> str:
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


def fixed(dim: Dim, what: str) -> int:
    """`dim` as an integer.  Raises ShapeError, naming `what`, for a symbolic one."""
    if not isinstance(dim, int):
        raise ShapeError(f"expected a fixed {what}, got {dim}")
    return dim
