"""The local object cache: what was compiled once is not compiled again.  Losing it, all or part, only costs time."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from alula.core.errors import AlulaError
from alula.core.files import OWNER_ONLY, atomic_write

CACHE_VERSION = 1
LARGEST_BYTES = 512 << 20
MAGIC = b"\x89ALUOBJ\n"
SUFFIX = ".entry"
PACKAGE = Path(__file__).parent.parent
GENERATING = ("artifact", "codegen", "core", "ir", "ops", "runtime")  # what a program's code depends on
STALE_SECONDS = 3600  # a temporary file this old belongs to a process that was killed
_DIGEST_BYTES = hashlib.sha256().digest_size
_FOLDER_MODE = 0o700
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
_BEYOND_OWNER = stat.S_IRWXG | stat.S_IRWXO


@dataclass(frozen=True, slots=True)
class CacheStatus:
    """What `doctor` shows: whether entries can be kept, why not (empty where they can), and what there is."""

    writable: bool
    reason: str
    bytes: int
    entries: int


class CacheRefused(AlulaError):
    """The cache folder or an entry is not one that we trust or can use.  Never leaves this module."""


class ObjectCache:
    """Named binary parts by key, one file of mode 0600 an entry, in a folder that only its owner can write to.

    An entry is taken only where file and folder are this user's and its SHA-256 holds; any other counts as absent and
    is written anew.  No method raises for what the file system does.  Safe for several processes at once.
    """

    def __init__(self, folder: Path | None = None, largest_bytes: int = LARGEST_BYTES) -> None:
        """`folder` defaults to `default_folder()`; beyond `largest_bytes` the least recently used entries go."""
        self.folder = default_folder() if folder is None else folder
        self._largest = largest_bytes
        self._failure = ""

    def get(self, key: str) -> dict[str, bytes] | None:
        """The parts put under `key`; None where there are none that can be trusted."""
        try:
            _check_folder(self.folder)
            return _decode(key, _read(self._path(key), self._largest))
        except (OSError, CacheRefused):
            return None

    def put(self, key: str, parts: dict[str, bytes]) -> None:
        """Keep `parts` under `key` where that is possible; `status` says why it was not."""
        entry = _encode(key, parts)
        try:
            if len(entry) > self._largest:
                raise CacheRefused(f"expected entries of at most {self._largest} bytes, got {len(entry)}")
            _make_folder(self.folder)
            with atomic_write(self._path(key), OWNER_ONLY) as file:
                file.write(entry)
            self._make_room()
            self._failure = ""
        except (OSError, AlulaError) as error:
            self._failure = _reason(error)

    def status(self) -> CacheStatus:
        """Tries to write to the folder, making it where it is missing, and counts what is in it."""
        reason = self._failure
        try:
            _make_folder(self.folder)
            with tempfile.TemporaryFile(dir=self.folder):
                pass
        except (OSError, CacheRefused) as error:
            reason = _reason(error)
        sizes = [info.st_size for path, info in _files(self.folder) if _is_entry(path)]
        return CacheStatus(not reason, reason, sum(sizes), len(sizes))

    def _path(self, key: str) -> Path:
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()}{SUFFIX}"

    def _make_room(self) -> None:
        """Remove the entries used longest ago until the rest fits; and what killed writers left."""
        stale = time.time() - STALE_SECONDS
        files = sorted(_files(self.folder), key=lambda item: item[1].st_mtime_ns)
        total = sum(info.st_size for path, info in files if _is_entry(path))
        for path, info in files:
            if not _is_entry(path) and info.st_mtime < stale:
                path.unlink(missing_ok=True)
            elif _is_entry(path) and total > self._largest:
                path.unlink(missing_ok=True)
                total -= info.st_size


def cache_key(*parts: str) -> str:
    """A key that differs wherever one of `parts` does: SHA-256 over their lengths and texts."""
    state = hashlib.sha256(b"alula cache %d" % CACHE_VERSION)
    for part in parts:
        text = part.encode("utf-8", "surrogatepass")
        state.update(len(text).to_bytes(8, "little") + text)
    return state.hexdigest()


def object_key(program: str, target: str, sizes: str = "") -> str:
    """The key of the code of `program` for the target called `target` and sizes, as these versions generate it."""
    import llvmlite.binding as llvm  # only where code is made or looked up
    from llvmlite import __version__ as llvmlite_version

    llvm_version = ".".join(map(str, llvm.llvm_version_info))
    return cache_key(program, target, sizes, sources_digest(PACKAGE), llvmlite_version, llvm_version)


@cache
def sources_digest(package: Path) -> str:
    """SHA-256 over the sources in `package` that code comes from: Alula's version, and finer than its number.

    Work on the code generator never meets code that it made before.
    """
    files = sorted(path for folder in GENERATING for path in (package / folder).rglob("*.py"))
    return cache_key(*(part for path in files for part in (str(path.relative_to(package)), path.read_text("utf-8"))))


def default_folder() -> Path:
    """`$ALULA_CACHE`, else `alula` in `$XDG_CACHE_HOME`, else in `~/.cache` (on macOS `~/Library/Caches`)."""
    if chosen := os.environ.get("ALULA_CACHE"):
        return Path(chosen).absolute()
    shared = os.environ.get("XDG_CACHE_HOME", "")
    if Path(shared).is_absolute():  # the XDG specification has a relative one ignored
        return Path(shared) / "alula"
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 -- Path.home() raises where there is none
    return home / ("Library/Caches" if sys.platform == "darwin" else ".cache") / "alula"


def _make_folder(folder: Path) -> None:
    if not folder.is_absolute():
        raise CacheRefused(f"{folder}: expected an absolute folder, got no home folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=_FOLDER_MODE)
    _check_folder(folder)


def _check_folder(folder: Path) -> None:
    """A folder that others can write to could hold their machine code."""
    info = folder.lstat()
    if not stat.S_ISDIR(info.st_mode):
        raise CacheRefused(f"{folder}: expected a folder, got a {'link' if stat.S_ISLNK(info.st_mode) else 'file'}")
    if info.st_uid != os.geteuid():
        raise CacheRefused(f"{folder}: expected a folder of user {os.geteuid()}, got one of user {info.st_uid}")
    if info.st_mode & _OTHERS_WRITE:
        raise CacheRefused(f"{folder}: expected it writable by its owner only, got mode {stat.S_IMODE(info.st_mode):o}")


def _read(path: Path, largest: int) -> bytes:
    """The entry's bytes; marks it as just used."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        info = os.fstat(file.fileno())
        trusted = stat.S_ISREG(info.st_mode) and info.st_uid == os.geteuid() and not info.st_mode & _BEYOND_OWNER
        if not trusted or info.st_size > largest:
            raise CacheRefused(f"{path}: expected a file of mode 600 of our own")
        entry = file.read()
        with contextlib.suppress(OSError):  # a read-only file system: entries are used, only not by their age
            os.utime(file.fileno())
        return entry


def _encode(key: str, parts: dict[str, bytes]) -> bytes:
    """Magic, SHA-256 of the rest; bytes of the index, index (JSON: key, and name and bytes of each part), the parts."""
    index = json.dumps({"key": key, "parts": [[name, len(part)] for name, part in parts.items()]}).encode()
    body = b"".join([len(index).to_bytes(8, "little"), index, *parts.values()])
    return MAGIC + hashlib.sha256(body).digest() + body


def _decode(key: str, entry: bytes) -> dict[str, bytes]:
    start = len(MAGIC) + _DIGEST_BYTES
    body = memoryview(entry)[start:]
    if entry[:start] != MAGIC + hashlib.sha256(body).digest():
        raise CacheRefused("entry: expected its digest to hold")
    place = 8 + int.from_bytes(body[:8], "little")
    try:
        index, parts = json.loads(bytes(body[8:place])), {}
        for name, size in index["parts"]:
            parts[str(name)] = bytes(body[place : place + size])
            place += size
        if index["key"] != key or place != len(body):
            raise CacheRefused("entry: expected another key or length")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CacheRefused(f"entry: expected an index, got {error}") from None
    return parts


def _files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Entries and temporary files with what `lstat` says; those that go meanwhile are left out."""
    found = []
    with contextlib.suppress(OSError):
        for path in folder.iterdir():
            if SUFFIX in path.suffixes:
                with contextlib.suppress(OSError):
                    found.append((path, path.lstat()))
    return found


def _is_entry(path: Path) -> bool:
    return path.suffix == SUFFIX  # a temporary file has a random suffix after it


def _reason(error: Exception) -> str:
    return str(error.strerror or error) if isinstance(error, OSError) else str(error)
