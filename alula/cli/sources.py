"""Which importer a model's file is for: by its name, and where that says nothing, as with PyTorch, by its content."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alula.frontends.tensorflow import is_tensorflow
from alula.frontends.torch.kind import kind_of

if TYPE_CHECKING:
    from alula.frontends.onnx import DimRange
    from alula.ir.graph import Graph

ONNX = ".onnx"
KINDS = "exported program (.pt2), TorchScript (.pt), ONNX (.onnx), Keras (.keras, .h5), SavedModel (folder) or .pb"


def is_onnx(path: Path) -> bool:
    """True for what is named as ONNX models are."""
    return path.suffix.lower() == ONNX


def check_source(path: Path) -> None:
    """Raises ImportFailed for a file that holds no model, before a framework is loaded to find out."""
    if not is_onnx(path) and not is_tensorflow(path):
        kind_of(path)


def imported(path: Path, dim_range: DimRange | None) -> Graph:
    """The graph of a model.  Raises what its importer raises."""
    import alula

    if is_onnx(path):
        return alula.from_onnx(path, dim_range=dim_range)
    if is_tensorflow(path):
        return alula.from_tensorflow(path, dim_range=dim_range)
    return alula.from_torch(path, dim_range=dim_range)
