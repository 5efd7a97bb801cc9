"""What a library knows of its model: all that its functions need besides the weights themselves."""

from __future__ import annotations

from dataclasses import dataclass

from alula.codegen.program import Program
from alula.core.dims import Expr
from alula.core.errors import CodegenError
from alula.core.preprocess import Preprocess
from alula.core.target import CpuTarget
from alula.ir.parser import parse_type
from alula.ir.types import TensorType

BATCH = -1  # ALULA_BATCH of the header: a size that is the batch


@dataclass(frozen=True, slots=True)
class Section:
    """Bytes of the model file, `size` of them with padding, and the SHA-256 that they have."""

    offset: int
    size: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class LibrarySpec:
    """One model: the program, and the file that its weights are in.

    `opening` are the file's first bytes; they hold the SHA-256 of the `header_bytes` that follow, which the digests of
    all sections are part of.
    """

    name: str
    precision: str
    digest: str
    target: CpuTarget
    program: Program
    preprocess: Preprocess | None
    batch_range: tuple[int, int]
    tuned_batch: int
    opening: bytes
    header_bytes: int
    file_bytes: int
    sections: tuple[Section, ...]

    @property
    def constants(self) -> list[Section]:
        """Where the constants of the program are, in the order of its table."""
        return [self.sections[number] for number in self.program.constants]


@dataclass(frozen=True, slots=True)
class Port:
    """An input or output as C sees it; `bytes` are those of one image where a size is the batch."""

    name: str
    dtype: str
    dims: tuple[int, ...]
    bytes: int


def ports(named: tuple[tuple[str, str], ...]) -> list[Port]:
    """The ports for names and types as programs have them.

    Raises CodegenError for a size that grows with the batch but is not the batch: C programs could not know it.
    """
    return [_port(name, parse_type(text)) for name, text in named]


def _port(name: str, type: TensorType) -> Port:
    dims = []
    for dim in type.shape:
        if isinstance(dim, Expr) and str(dim) not in type.symbols():
            raise CodegenError(f"output {name}: expected sizes that are fixed or the batch, got {type}")
        dims.append(BATCH if isinstance(dim, Expr) else dim)
    if dims.count(BATCH) > 1:
        raise CodegenError(f"output {name}: expected the batch once, got {type}")
    single = TensorType(type.dtype, tuple(1 if size == BATCH else size for size in dims))
    bytes = single.bytes
    assert isinstance(bytes, int), "a type of fixed sizes"
    return Port(name, type.dtype.value, tuple(dims), bytes)
