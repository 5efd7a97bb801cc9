"""A model file, checked byte by byte before anything is made from it.  The file may be damaged or hostile."""

from __future__ import annotations

import os
import stat
from mmap import ACCESS_READ, mmap
from pathlib import Path

import numpy as np

from alula.artifact.header import Entry, Header, decode_header
from alula.artifact.model import ConstantSection, ModelFile
from alula.artifact.spec import LARGEST_HEADER, MAGIC, PROLOGUE, VERSION, for_each, padded, section_digest
from alula.core.dtype import Array, DType
from alula.core.errors import ModelFormatError


def read_model(path: Path, *, verify_sections: bool = True) -> ModelFile:
    """The model file at `path`, mapped into memory.

    Without `verify_sections` the constants are neither read nor checked: for looking at the header alone, never for
    running the model.  Raises ModelFormatError naming part and offset of what is wrong, or why it cannot be read.
    """
    try:
        mapping = _map(path)
    except (OSError, ValueError) as error:  # ValueError: a path that no file can have
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise ModelFormatError(f"model file {path}: expected a readable file, got {reason}") from None
    except ModelFormatError as error:
        raise ModelFormatError(f"model file {path}: {error}") from None
    return parse(memoryview(mapping) if mapping else memoryview(b""), path, verify_sections=verify_sections)


def parse(buffer: memoryview, path: Path, *, verify_sections: bool = True) -> ModelFile:
    """The model file whose bytes are `buffer`; `path` is for messages.  Its arrays are views of the buffer."""
    try:
        header, digest, start = _header(buffer)
        constants = tuple(_section(buffer, start, number, entry) for number, entry in enumerate(header.entries))
        if verify_sections:
            for_each(lambda item: _verify(buffer, *item), list(enumerate(constants)), len(buffer))
    except ModelFormatError as error:
        raise ModelFormatError(f"model file {path}: {error}") from None
    return ModelFile(path, header.meta, header.graph_text, digest, constants)


def _map(path: Path) -> mmap | None:
    # Non-blocking: a pipe would otherwise wait for its writer.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise ModelFormatError(f"expected a file, got a {'folder' if stat.S_ISDIR(status.st_mode) else 'device'}")
        return mmap(descriptor, 0, access=ACCESS_READ) if status.st_size else None
    finally:
        os.close(descriptor)


def _header(buffer: memoryview) -> tuple[Header, str, int]:
    """The header, its digest, and where the sections start."""
    if len(buffer) < PROLOGUE.size:
        raise ModelFormatError(f"prologue at 0: expected {PROLOGUE.size} bytes, got {len(buffer)}")
    magic, version, size, total, digest = PROLOGUE.unpack_from(buffer)
    if magic != MAGIC:
        raise ModelFormatError(f"magic at 0: expected a file that `alula build` made, got one that begins {magic!r}")
    if version != VERSION:
        raise ModelFormatError(f"version at 8: expected {VERSION}, which this Alula reads, got {version}")
    start = PROLOGUE.size + padded(size)
    if size > LARGEST_HEADER or start > total:
        raise ModelFormatError(f"header length at 16: expected at most {min(LARGEST_HEADER, total)} bytes, got {size}")
    if total != len(buffer):
        raise ModelFormatError(f"file length at 24: expected {total} bytes, got {len(buffer)}")
    found = section_digest(buffer[PROLOGUE.size : PROLOGUE.size + size])
    if found != digest.hex():
        raise ModelFormatError(f"header at {PROLOGUE.size}: expected SHA-256 {digest.hex()}, got {found}")
    _check_padding(buffer, PROLOGUE.size + size, "header")
    try:
        header = decode_header(bytes(buffer[PROLOGUE.size : PROLOGUE.size + size]))
    except ModelFormatError as error:
        raise ModelFormatError(f"header at {PROLOGUE.size}: {error}") from None
    if start + header.section_bytes != total:
        raise ModelFormatError(f"sections at {start}: expected {header.section_bytes} bytes, got {total - start}")
    return header, found, start


def _section(buffer: memoryview, start: int, number: int, entry: Entry) -> ConstantSection:
    offset = start + entry.offset
    try:
        array: Array = np.ndarray(entry.type.shape, _little(entry.type.dtype), buffer[offset : offset + entry.bytes])  # type: ignore[arg-type]
    except ValueError as error:  # no elements, yet sizes that NumPy cannot multiply; too many dimensions
        raise ModelFormatError(f"section {number} {entry.name!r}: expected a possible shape, got {error}") from None
    return ConstantSection(entry.name, entry.type, offset, entry.bytes, entry.sha256, array)


def _verify(buffer: memoryview, number: int, section: ConstantSection) -> None:
    where = f"section {number} {section.name[:80]!r} at {section.offset}"
    end = section.offset + section.bytes
    found = section_digest(buffer[section.offset : end])
    if found != section.sha256:
        raise ModelFormatError(f"{where}: expected SHA-256 {section.sha256}, got {found}")
    _check_padding(buffer, end, where)
    if section.type.dtype is DType.BOOL and np.any(section.array.view(np.uint8) > 1):
        raise ModelFormatError(f"{where}: expected booleans of 0 or 1, got another byte")


def _check_padding(buffer: memoryview, end: int, what: str) -> None:
    rest = bytes(buffer[end : padded(end)])  # header and sections start at multiples of the alignment
    if rest.strip(b"\0"):
        raise ModelFormatError(f"{what}, padding at {end}: expected zeros, got {rest.hex()}")


def _little(dtype: DType) -> np.dtype[np.generic]:
    return dtype.numpy.newbyteorder("<")
