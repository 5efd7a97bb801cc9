"""ONNX models to graphs.  Importing this package does not load onnx; calling it does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from alula.core.errors import ImportFailed
from alula.ir.graph import Graph

if TYPE_CHECKING:
    from alula.core.dtype import Array

DimRange = tuple[tuple[int, ...], tuple[int, ...]]


def from_onnx(
    source: str | Path, dim_range: DimRange | None = None, constants: Mapping[str, Array] | None = None
) -> Graph:
    """The graph of an ONNX file, with its weights.

    Inputs are as the file takes them.  A first dimension that it leaves open becomes the batch N within `dim_range`,
    (smallest, largest) shape of the first input, by default 1..512; other sizes that it leaves open stay so where those
    shapes differ.  `constants` are inputs whose elements are known now and forever, by name: shapes and the like, which
    have to be known before code can be made.
    Raises UnsupportedOperator naming every operator that we do not know, ImportFailed for any other file that cannot
    be imported or where onnx is not installed, UsageError for a range or constant that the file has no use for.
    """
    try:
        import onnx
    except ImportError as error:
        raise ImportFailed("from_onnx: expected onnx to be installed (pip install 'alula[onnx]'), got none") from error

    from alula.frontends.onnx.program import import_model
    from alula.frontends.onnx.source import read_source

    path = Path(source)
    graph = import_model(read_source(path), dim_range, constants or {})
    graph.provenance = {"framework": "onnx", "framework_version": str(onnx.__version__), "module": graph.name}
    return graph
