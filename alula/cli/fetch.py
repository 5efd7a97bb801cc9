"""`alula fetch`: a published VOLO checkpoint onto this machine."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from alula.cli.options import check_writable, positive

HELP = "download a published VOLO checkpoint"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="volo_d1, volo_d2, volo_d3, volo_d4 or volo_d5")
    parser.add_argument(
        "--image-size", type=positive, default=224, metavar="S", help="pixels it was trained for (default: 224)"
    )
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(), metavar="PATH", help="file or folder (default: the current folder)"
    )
    parser.add_argument("--url", metavar="BASE", help="folder of the files (default: the authors' release on GitHub)")


def run(arguments: argparse.Namespace) -> int:
    """0 with the file in place, 1 when the network did not give it."""
    from alula.models import fetch, zoo

    entry = zoo.entry_named(arguments.model)
    file_name = entry.file_for(arguments.image_size)
    path = arguments.output / file_name if arguments.output.is_dir() else arguments.output
    check_writable(path)
    if path.exists() and fetch.is_published(entry, arguments.image_size, path):
        print(f"{path}: already there, and it fits {entry.name}")
        return 0
    try:
        with _bar(file_name) as progress:
            fetch.fetch_checkpoint(entry, arguments.image_size, arguments.url or zoo.RELEASE, path, progress)
    except fetch.FetchFailed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(f"{path}: {path.stat().st_size:,} bytes, the weights of {entry.name} for {arguments.image_size} pixels")
    return 0


@contextmanager
def _bar(name: str) -> Iterator[Callable[[int, int | None], None]]:
    """What to tell (bytes so far, bytes in all): a bar with speed and time left, where standard error is a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=None)
        yield lambda got, total: bar.update(task, completed=got, total=total)
