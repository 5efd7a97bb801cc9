"""What a model file holds: its description, its graph as text, and its constants as read-only views of the file."""

from __future__ import annotations

import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import alula.ops  # noqa: F401 -- the parser knows the ops that are imported
from alula.core.dtype import Array
from alula.core.errors import AlulaError, ModelFormatError
from alula.core.preprocess import Preprocess
from alula.ir.graph import Graph
from alula.ir.parser import parse_graph
from alula.ir.printer import print_graph
from alula.ir.types import TensorType
from alula.ir.verifier import verify

LARGEST_BATCH = (1 << 31) - 1
_WORD = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")


@dataclass(frozen=True, slots=True)
class ModelMeta:
    """What the graph does not say: for whom the file was built and how it may be run.

    `batch_range` is the least and the largest batch that `run` accepts; one batch alone where `shape_mutable` is false.
    `provenance` says where the model came from (no paths, no times), `kept` why ops that could be narrower are not, by
    the labels of `labelled_products`.  Raises ModelFormatError for what does not fit.
    """

    target: str
    precision: str
    preprocess: Preprocess | None
    batch_range: tuple[int, int]
    tuned_batch: int
    shape_mutable: bool
    provenance: dict[str, str] = field(default_factory=dict)
    kept: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("target", "precision"):
            value = getattr(self, name)
            _check(name, type(value) is str and _WORD.fullmatch(value), "a lower-case word", value)
        _check("shape_mutable", type(self.shape_mutable) is bool, "true or false", self.shape_mutable)
        batches = (*self.batch_range, self.tuned_batch)
        _check("batch sizes", all(type(size) is int for size in batches), "integers", batches)
        low, high, tuned = batches
        _check("batch sizes", 1 <= low <= tuned <= high <= LARGEST_BATCH, "1 <= low <= tuned <= high", batches)
        _check("batch_range", self.shape_mutable or low == high, "one batch where shape_mutable is false", (low, high))
        for name in ("provenance", "kept"):
            texts = [text for item in getattr(self, name).items() for text in item]
            _check(name, all(type(text) is str for text in texts), "texts", getattr(self, name))

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict, without `kept` where nothing is; `from_json` takes it back."""
        preprocess = None if self.preprocess is None else self.preprocess.to_json()
        plain = {**asdict(self), "preprocess": preprocess, "batch_range": list(self.batch_range)}
        if not self.kept:
            del plain["kept"]
        return plain

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> ModelMeta:
        """The description that a JSON object with exactly these keys holds.  Raises ModelFormatError."""
        preprocess, batches = data["preprocess"], data["batch_range"]
        _check("batch_range", type(batches) is list and len(batches) == 2, "two integers", batches)
        for name in ("provenance", "kept"):
            _check(name, type(data.get(name, {})) is dict, "an object", data.get(name))
        known = None if preprocess is None else _preprocess(preprocess)
        return cls(**{**data, "preprocess": known, "batch_range": tuple(batches)})


@dataclass(frozen=True, slots=True)
class ConstantSection:
    """One constant.  `offset` and `bytes` (without padding) are of the file, `array` is a read-only view of it."""

    name: str
    type: TensorType
    offset: int
    bytes: int
    sha256: str
    array: Array = field(repr=False, compare=False)


class ModelFile:
    """An open model file.  `digest` covers the header, which holds every section's digest: it names the whole content.

    The arrays stay valid after `close` for as long as somebody holds them; the file must not be written to meanwhile
    (Alula never does: saving puts a new file in the old one's place).
    """

    def __init__(
        self, path: Path, meta: ModelMeta, graph_text: str, digest: str, constants: tuple[ConstantSection, ...]
    ) -> None:
        self.path, self.meta, self.graph_text, self.digest, self.constants = path, meta, graph_text, digest, constants

    def graph(self) -> Graph:
        """The graph, verified; its constants are views of the file.  Raises ModelFormatError, naming the line."""
        try:
            graph = parse_graph(self.graph_text, self._elements)
            verify(graph)
            same = print_graph(graph, origins=True) == self.graph_text
        except (
            AlulaError,
            ArithmeticError,
            AttributeError,
            LookupError,
            RecursionError,
            TypeError,
            ValueError,
        ) as error:
            # The text may be hostile: an op may stumble over an attribute of a type that it does not expect.
            raise ModelFormatError(f"model file {self.path}: header, graph: {_one_line(error)}") from None
        if not same:
            raise ModelFormatError(
                f"model file {self.path}: header, graph: expected it as Alula prints it, got other text"
            )
        return graph

    def close(self) -> None:
        """Let go of the file; its memory is unmapped when the last array is gone."""
        self.constants = ()

    def __enter__(self) -> ModelFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _elements(self, index: int, name: str, type: TensorType) -> Array:
        if index >= len(self.constants) or (self.constants[index].name, self.constants[index].type) != (name, type):
            raise ModelFormatError(f"constant {name}: expected a section of type {type}, got none")
        return self.constants[index].array


def _preprocess(data: object) -> Preprocess:
    try:
        return Preprocess.from_json(data)
    except AlulaError as error:
        raise ModelFormatError(_one_line(error)) from None


def _check(what: str, holds: object, expected: str, got: object) -> None:
    if not holds:
        raise ModelFormatError(f"{what}: expected {expected}, got {str(got)[:80]!r}")


def _one_line(error: Exception) -> str:
    text = str(error) if isinstance(error, AlulaError) else f"{type(error).__name__}: {error}"
    return " ".join(text.split())[:400]
