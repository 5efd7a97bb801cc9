"""A progress bar on a terminal's standard error, and nothing where there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from alula.cli.report import bar

REDRAW_S = 0.1
CLEAR_LINE = "\r\x1b[K"


class Progress:
    """Counts towards `total`.  Redraws in `advance` only, without a thread, so that it disturbs no measurement."""

    def __init__(self, what: str, total: int, shown: bool) -> None:
        self.what, self.total, self.shown = what, total, shown
        self.done = 0
        self.began = self.drawn = monotonic()

    def advance(self, count: int = 1) -> None:
        self.done += count
        now = monotonic()
        if self.shown and now - self.drawn >= REDRAW_S:
            self.drawn = now
            left_s = (now - self.began) / self.done * (self.total - self.done) if self.done else 0.0
            share = self.done / self.total
            line = f"{self.what} {bar(share)} {self.done}/{self.total}, {left_s:.0f} s left"
            print(CLEAR_LINE + line, end="", file=sys.stderr, flush=True)


@contextmanager
def progress(what: str, total: int) -> Iterator[Progress]:
    """A bar for `total` things, wiped when the block ends; none for what has no name."""
    shown = bool(what) and sys.stderr.isatty()
    try:
        yield Progress(what, total, shown)
    finally:
        if shown:
            print(CLEAR_LINE, end="", file=sys.stderr, flush=True)


@contextmanager
def stage(what: str) -> Iterator[None]:
    """A spinner for one long step of unknown length, wiped when the block ends."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield
        return
    with console.status(what):
        yield
