"""The small way's data, in the layout of ILSVRC2012: held-out digits with a label file, and others to calibrate on."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "utils"))

from command import command, finish

from alula.core.files import atomic_write
from alula.models.digits import CLASS_NAMES, write_digits_images
from alula.vision.folder import list_pictures


def main(words: Sequence[str]) -> int:
    """Writes val/ and train/, names.txt, and last digits_val.txt, which says that all the rest is there."""
    parser = command(__doc__)
    parser.add_argument("folder", type=Path, help="where to")
    folder = parser.parse_args(words).folder
    folder.mkdir(parents=True, exist_ok=True)
    count = write_digits_images(folder / "val")
    write_digits_images(folder / "train", "train")
    pictures = list_pictures(folder / "val")
    _write(folder / "names.txt", CLASS_NAMES)
    _write(folder / "digits_val.txt", [f"{picture.name} {picture.label}" for picture in pictures])
    print(f"{folder}: {count} handwritten digits that no training saw, and the others to calibrate on")
    return 0


def _write(path: Path, lines: Sequence[str]) -> None:
    with atomic_write(path) as file:
        file.write("".join(f"{line}\n" for line in lines).encode())


if __name__ == "__main__":
    finish(main)
