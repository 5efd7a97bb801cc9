"""Several result files that appear together or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path

from alula.core.errors import AlulaError, UsageError


def check_folder(folder: Path) -> None:
    """Raises UsageError for a folder that could neither be written to nor made, before the work begins."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"output folder {folder}: expected a folder, got a file")
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UsageError(f"output folder {folder}: expected a writable place, got {existing}")


def write_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """Writes `files` (name -> content) into `folder`, made if need be, over files of these names.

    All content is on the disk, in a hidden folder inside, before the first name changes.  Raises AlulaError for what
    the file system refuses; then `folder` holds what it held before.
    """
    made = [path for path in (folder, *folder.absolute().parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".alula-", dir=folder) as hidden:
            for name, content in files.items():
                _write(Path(hidden, name), content)
            for name in files:
                Path(hidden, name).replace(folder / name)
    except BaseException as error:
        _remove_empty(made)
        if isinstance(error, OSError):
            raise AlulaError(
                f"writing into {folder}: expected a writable place, got {error.strerror or error}"
            ) from error
        raise


def _write(path: Path, content: bytes) -> None:
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
