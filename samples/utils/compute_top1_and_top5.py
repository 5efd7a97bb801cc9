"""Top-1 and top-5 of the files that infer wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from command import command, finish

from alula.core.errors import UsageError
from alula.core.files import atomic_write
from alula.vision.names import read_lines


def main(words: Sequence[str]) -> int:
    """Prints both shares and writes them to a file."""
    parser = command(__doc__)
    for name, meaning in (
        ("result_label_file", "lines `name label`"),
        ("result_1_file", "lines `name class`"),
        ("result_5_file", "lines `name class class class class class`, likeliest first"),
        ("top1andtop5_file", "where the two shares go"),
    ):
        parser.add_argument(f"--{name}", type=Path, required=True, metavar="FILE", help=meaning)
    arguments = parser.parse_args(words)
    labels = {name: classes[0] for name, classes in _table(arguments.result_label_file, 1)}
    lines = []
    for top, file, columns in (("top1", arguments.result_1_file, 1), ("top5", arguments.result_5_file, 5)):
        predicted = _table(file, columns)
        if strangers := [name for name, _ in predicted if name not in labels]:
            raise UsageError(f"file {file}: expected pictures of {arguments.result_label_file}, got {strangers[0]} too")
        correct = sum(labels[name] in classes for name, classes in predicted)
        lines.append(f"{top}:  {correct / len(predicted)}")
    text = "\n".join(lines)
    print(text)
    with atomic_write(arguments.top1andtop5_file) as file:
        file.write(f"{text}\n".encode())
    return 0


def _table(path: Path, columns: int) -> list[tuple[str, list[int]]]:
    """Name and classes of every line; names may hold spaces, the classes are the last words."""
    rows = []
    for number, line in enumerate(read_lines(path), 1):
        name, *words = line.rsplit(maxsplit=columns)
        if len(words) != columns or not all(word.isdigit() for word in words):
            raise UsageError(f"file {path} line {number}: expected a name and {columns} classes, got {line!r}")
        rows.append((name, [int(word) for word in words]))
    return rows


if __name__ == "__main__":
    finish(main)
