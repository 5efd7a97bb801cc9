"""Class names: a text file with one class a line, in the order of the model's outputs."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from alula.core.errors import UsageError

WORDNET_ID = re.compile(r"n\d{8}$")


@dataclass(frozen=True, slots=True)
class ClassName:
    """`text` is shown; `key` is the WordNet id that the line opens with, or the text: what a class folder is called."""

    key: str
    text: str


def read_names(path: Path) -> tuple[ClassName, ...]:
    """The classes that a name file lists.

    A line is a name, or a WordNet id and a name (`n01440764 tench, Tinca tinca`, as in synset_words.txt).  Raises
    UsageError, with the line's number, for a blank line before the last name.
    """
    lines = [line.strip() for line in read_lines(path)]
    if "" in lines:
        raise UsageError(f"name file {path} line {lines.index('') + 1}: expected a class name, got a blank line")
    return tuple(map(_class_name, lines))


def _class_name(line: str) -> ClassName:
    first, _, rest = line.partition(" ")
    if WORDNET_ID.match(first) and rest.strip():
        return ClassName(first, rest.strip())
    return ClassName(line, line)


def read_lines(path: Path) -> list[str]:
    """A text file's lines, without blank ones at its end.  Raises UsageError for an unreadable or empty file."""
    try:
        lines = path.read_text(encoding="utf-8-sig").rstrip().splitlines()
    except OSError as error:
        raise UsageError(f"file {path}: expected a readable text file, got {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"file {path}: expected UTF-8 text, got byte {error.object[error.start]:#04x}") from error
    if not lines:
        raise UsageError(f"file {path}: expected at least one line, got an empty file")
    return lines
