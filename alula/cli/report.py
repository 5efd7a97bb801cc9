"""What commands print: tables, bars, and figures as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from alula.core.files import atomic_write

BAR_CELLS = 24
EIGHTHS = " ▏▎▍▌▋▊▉"


def write_json(path: Path | None, figures: dict[str, Any]) -> None:
    """Writes `figures` to `path`, whole or not at all; nothing without a path.  Raises AlulaError."""
    if path is None:
        return
    with atomic_write(path) as file:
        file.write(json_bytes(figures))


def json_bytes(figures: object) -> bytes:
    """Indented UTF-8 JSON ending in a newline; not-a-number is refused with ValueError."""
    return (json.dumps(figures, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table on standard output, numbers to the right."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    cells = [list(row) for row in rows]
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD)
    for index, column in enumerate(columns):
        values = [row[index] for row in cells if row[index] is not None]
        numeric = bool(values) and all(isinstance(value, int | float) for value in values)
        table.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in cells:
        table.add_row(*(Text(_cell(value)) for value in row))
    Console(soft_wrap=False).print(table)


def _cell(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.4g}"
        case list() | tuple():
            return ", ".join(map(_cell, value))
    return str(value)


def bar(share: float) -> str:
    """A bar of BAR_CELLS characters filled to `share`, 0 to 1."""
    full, rest = divmod(round(share * BAR_CELLS * 8), 8)
    return ("█" * full + (EIGHTHS[rest] if rest else "")).ljust(BAR_CELLS)
