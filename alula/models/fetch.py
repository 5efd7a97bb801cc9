"""Published checkpoints from the network: whole and of the right architecture, or not there at all."""

from __future__ import annotations

import http.client
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from alula.core.errors import AlulaError, CheckpointError, UsageError
from alula.core.files import atomic_write
from alula.models.checkpoints import check_fit, read_checkpoint
from alula.models.zoo import Entry

TIMEOUT_S = 30
CHUNK_BYTES = 1 << 18

Progress = Callable[[int, int | None], None]
"""Told the bytes that have come so far and, where the server said so, how many there will be."""


class FetchFailed(AlulaError):
    """The network or the server did not give what was asked for."""


def is_published(entry: Entry, image_size: int, path: Path) -> bool:
    """Whether the file at `path` holds weights that fit `entry` at `image_size` pixels."""
    try:
        _check(entry, image_size, path)
    except CheckpointError:
        return False
    return True


def fetch_checkpoint(entry: Entry, image_size: int, base_url: str, path: Path, progress: Progress) -> None:
    """Puts `entry`'s published checkpoint for `image_size` pixels, from under `base_url`, at `path`, atomically.

    Raises UsageError for an address that is not http(s) or an image size without a file, FetchFailed when the file
    does not come, comes short or does not fit the architecture, AlulaError when `path` cannot be written.
    """
    url = f"{base_url.rstrip('/')}/{entry.file_for(image_size)}"
    if urllib.parse.urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"fetch: expected an http or https address, got {url!r}")
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            part = Path(folder) / path.name
            with atomic_write(part) as file:
                for chunk in _chunks(url, progress):
                    file.write(chunk)
            try:
                _check(entry, image_size, part)
            except CheckpointError as error:
                what = str(error).replace(str(part), part.name)
                raise FetchFailed(f"fetch {url}: expected the weights of {entry.name}, got others: {what}") from error
            part.replace(path)
    except OSError as error:
        raise AlulaError(f"writing {path}: expected a writable place, got {error.strerror or error}") from error


def _chunks(url: str, progress: Progress) -> Iterator[bytes]:
    """The body behind `url`, piece by piece; raises FetchFailed for everything that can go wrong on the way."""
    got = 0
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "alula"})
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
            length = answer.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            while chunk := answer.read(CHUNK_BYTES):
                got += len(chunk)
                progress(got, total)
                yield chunk
    except urllib.error.HTTPError as error:
        raise FetchFailed(f"fetch {url}: expected the file, got HTTP {error.code} {error.reason}") from error
    except urllib.error.URLError as error:
        raise FetchFailed(f"fetch {url}: expected a server that answers, got {_reason(error.reason)}") from error
    except (OSError, http.client.HTTPException) as error:
        raise FetchFailed(f"fetch {url}: expected the whole file, got {_reason(error)} after {got:,} bytes") from error
    if total is not None and got != total:
        raise FetchFailed(f"fetch {url}: expected {total:,} bytes, got {got:,} before the connection ended")


def _reason(error: str | BaseException) -> str:
    return str(getattr(error, "strerror", None) or error) or type(error).__name__


def _check(entry: Entry, image_size: int, path: Path) -> None:
    with torch.device("meta"):  # shapes only: nothing is allocated or drawn
        model = entry.build(image_size)
    check_fit(model, read_checkpoint(path).tensors, path.name)
