"""What a PyTorch file is, by its content: its name says little."""

from __future__ import annotations

import zipfile
from enum import Enum
from pathlib import Path

from alula.core.errors import ImportFailed

ZIP_MAGIC = b"PK\x03\x04"
PICKLE_MAGIC = b"\x80"
WANTED = "expected an exported program (.pt2) or TorchScript (.pt)"
OTHERS = "ONNX's ends in .onnx, TensorFlow's in .keras, .h5 or .pb"


class Kind(Enum):
    """The files that hold a model."""

    EXPORTED = "an exported program"
    TORCHSCRIPT = "TorchScript"


def kind_of(path: Path) -> Kind:
    """What the file at `path` is.  Raises ImportFailed, saying what it is and what to do, for one without a model."""
    try:
        with path.open("rb") as file:
            head = file.read(len(ZIP_MAGIC))
    except OSError as error:
        raise ImportFailed(f"model {path}: expected a readable file, got {error.strerror or error}") from error
    if head == ZIP_MAGIC and zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            return _kind_of_archive(path, archive.namelist())
    if head[:1] == PICKLE_MAGIC:
        raise _checkpoint(path)
    found = "a built model file" if path.suffix.lower() == ".alula" else f"another kind of file ({OTHERS})"
    raise ImportFailed(f"model {path}: {WANTED}, got {found}")


def _kind_of_archive(path: Path, entries: list[str]) -> Kind:
    if any(entry.split("/")[1:2] == ["code"] for entry in entries):
        return Kind.TORCHSCRIPT
    if any(entry.endswith("/archive_format") or "models/" in entry for entry in entries):
        return Kind.EXPORTED
    if any(entry.endswith("/data.pkl") for entry in entries):
        raise _checkpoint(path)
    raise ImportFailed(f"model {path}: {WANTED}, got a zip file without one")


def _checkpoint(path: Path) -> ImportFailed:
    return ImportFailed(
        f"model {path}: {WANTED}, got a checkpoint: weights without their model, which "
        "alula export --checkpoint gives a VOLO's, and torch.export of the module that loads them any other's"
    )
