"""TensorFlow models to graphs, by way of ONNX.  Importing this package does not load TensorFlow; calling it does."""

from __future__ import annotations

from pathlib import Path

from alula.core.errors import ImportFailed
from alula.frontends.onnx import DimRange
from alula.ir.graph import Graph

KERAS = (".keras", ".h5", ".hdf5")
FROZEN = ".pb"
SAVED_MODEL = ("saved_model.pb", "saved_model.pbtxt")


def is_tensorflow(path: Path) -> bool:
    """True for what is named as Keras models and frozen graphs are, and for a folder that holds a SavedModel."""
    return path.suffix.lower() in (*KERAS, FROZEN) or any((path / name).is_file() for name in SAVED_MODEL)


def from_tensorflow(source: str | Path, dim_range: DimRange | None = None) -> Graph:
    """The graph of a SavedModel (a folder), a Keras model (.keras, .h5) or a frozen graph (.pb), with its weights.

    Inputs and outputs are as the model has them: pictures have their channels last.  A first dimension that is open
    becomes the batch N within `dim_range`, as in `alula.from_onnx`.  Nothing of a Keras file runs that is not
    Keras's own: Lambda layers are refused.
    Raises UnsupportedOperator naming every operator that has no counterpart or that we do not know, ImportFailed for
    any other model that cannot be imported or where TensorFlow is not installed, UsageError for a range that does not
    fit.
    """
    path = Path(source)
    if path.name in SAVED_MODEL:
        path = path.parent  # the folder is the model
    if not path.is_file() and not path.is_dir():
        raise ImportFailed(f"{path}: expected a TensorFlow model, got no such file or folder")
    from alula.frontends.tensorflow.child import converted

    model, version = converted(path)

    from alula.frontends.onnx.program import import_model
    from alula.frontends.onnx.source import checked_source

    graph = import_model(checked_source(model, path), dim_range, {})
    graph.provenance = {"framework": "tensorflow", "framework_version": version, "module": graph.name}
    return graph
