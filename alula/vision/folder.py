"""Folders of pictures -> the list of what is in them, with labels where there are any."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from alula.core.errors import ImageError, UsageError
from alula.vision.names import ClassName, read_lines

SUFFIXES = frozenset(
    {".jpeg", ".jpg", ".jpe", ".jfif", ".mpo", ".png", ".webp", ".bmp", ".dib", ".gif", ".tif", ".tiff", ".avif"}
    | {".ppm", ".pgm", ".pbm", ".pnm", ".jp2", ".j2k"}
)


@dataclass(frozen=True, slots=True)
class Picture:
    """A listed file: its name inside the folder (`/` between parts), where it is, and its class if that is known."""

    name: str
    path: Path
    label: int | None = None


def list_pictures(
    root: Path, label_file: Path | None = None, names: Sequence[ClassName] = (), classes: int | None = None
) -> tuple[Picture, ...]:
    """The pictures of a folder, in a fixed order.

    With a label file: what it lists, in its order.  Without: `root/class/**/picture`, or, where there are no class
    folders, `root/picture` without labels; by name, passing over hidden entries and files of other suffixes.  Class
    folders are numbered in the order of their names, or by `names` where those hold them.  Raises UsageError for a
    folder, label file or label (from `classes` on) that cannot be right, ImageError for a folder without pictures.
    """
    if not root.is_dir():
        raise UsageError(f"image folder {root}: expected a folder, got {'a file' if root.exists() else 'nothing'}")
    if label_file is not None:
        return tuple(_listed(root, label_file, classes))
    folders, files = _entries(root)
    if folders and files:
        raise UsageError(f"image folder {root}: expected class folders or pictures, got both ({files[0].name})")
    labels = _folder_labels(root, [folder.name for folder in folders], names, classes)
    pictures = [Picture(file.name, file) for file in files]
    for folder in folders:
        pictures += [replace(inner, label=labels[folder.name]) for inner in _below(root, folder)]
    if not pictures:
        raise ImageError(f"image folder {root}: expected pictures, got none")
    return tuple(pictures)


def _listed(root: Path, label_file: Path, classes: int | None) -> Iterator[Picture]:
    seen: dict[str, int] = {}
    for number, line in enumerate(read_lines(label_file), 1):
        where = f"label file {label_file} line {number}"
        name, label = _name_and_label(line, where)
        if name in seen:
            raise UsageError(f"{where}: expected each picture once, got {name} again (line {seen[name]})")
        if classes is not None and label >= classes:
            raise UsageError(f"{where}: expected a class below {classes}, got {label}")
        seen[name] = number
        yield Picture(name, root / name, label)


def _name_and_label(line: str, where: str) -> tuple[str, int]:
    """The last word is the label: names may hold spaces."""
    words = line.rsplit(maxsplit=1)
    if len(words) < 2 or not (words[1].isascii() and words[1].isdigit()):
        raise UsageError(f"{where}: expected `name label` with a class number, got {line!r}")
    name = words[0].strip()
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        raise UsageError(f"{where}: expected a name inside the image folder, got {name!r}")
    return name, int(words[1])


def _entries(folder: Path) -> tuple[list[Path], list[Path]]:
    """The class folders and the pictures right in a folder, each by name."""
    visible = sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=lambda path: path.name)
    return [path for path in visible if path.is_dir()], [path for path in visible if _is_picture(path)]


def _is_picture(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.is_dir()


def _below(root: Path, folder: Path) -> Iterator[Picture]:
    for current, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for path in (Path(current, name) for name in sorted(files) if not name.startswith(".")):
            if _is_picture(path):
                yield Picture(path.relative_to(root).as_posix(), path)


def _folder_labels(
    root: Path, folders: Sequence[str], names: Iterable[ClassName], classes: int | None
) -> dict[str, int]:
    """Class of each folder: its place in `names` where all of them are there, else its place among the folders."""
    keys = [name.key for name in names]
    strangers = [folder for folder in folders if folder not in keys]
    if strangers and len(strangers) < len(folders):
        raise UsageError(f"image folder {root}: expected class folders of the name file, got {strangers[0]} too")
    labels = {folder: index if strangers else keys.index(folder) for index, folder in enumerate(folders)}
    for folder, label in labels.items():
        if not strangers and keys.count(folder) > 1:
            raise UsageError(f"image folder {root}: expected class names that occur once, got {folder} repeated")
        if classes is not None and label >= classes:
            raise UsageError(f"image folder {root}: expected classes below {classes}, got {label} ({folder})")
    return labels
