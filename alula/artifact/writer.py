"""Graph and description to a model file: atomic, streaming, the same bytes for the same input."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from alula.artifact.header import Entry, Header
from alula.artifact.model import ConstantSection, ModelFile, ModelMeta
from alula.artifact.spec import LARGEST_HEADER, MAGIC, PROLOGUE, VERSION, for_each, padded, padding, section_digest
from alula.core.dtype import Array
from alula.core.errors import ModelFormatError
from alula.core.files import atomic_write
from alula.ir.graph import Graph
from alula.ir.printer import print_graph
from alula.ir.types import TensorType


def write_model(path: Path, graph: Graph, meta: ModelMeta) -> None:
    """Write the file at `path`, in place of what is there, or leave all as it was.

    Constants are hashed, then written, from where they are: only one that is not contiguous is copied, for itself.
    Raises ModelFormatError for a graph that could not be read back, AlulaError where the file cannot be written.
    """
    arrays = [value.data for value in graph.constants() if value.data is not None]
    text = print_graph(graph, origins=True)
    header = Header(meta, text, _entries(graph, arrays))
    encoded = header.encode()
    if len(encoded) > LARGEST_HEADER:
        raise ModelFormatError(
            f"model file {path}: expected at most {LARGEST_HEADER} bytes of header, got {len(encoded)}"
        )
    _check_readable(path, header, arrays)
    total = PROLOGUE.size + padded(len(encoded)) + header.section_bytes
    digest = bytes.fromhex(section_digest(encoded))
    with atomic_write(path) as file:
        file.write(PROLOGUE.pack(MAGIC, VERSION, len(encoded), total, digest))
        file.write(encoded + padding(len(encoded)))
        for array in arrays:
            file.write(stored(array))
            file.write(padding(array.nbytes))


def stored(array: Array) -> memoryview:
    """The bytes of `array` as files hold them, little-endian in C order; a copy only where memory differs from that."""
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    return little.reshape(-1).view(np.uint8).data


def _entries(graph: Graph, arrays: list[Array]) -> tuple[Entry, ...]:
    digests = for_each(lambda array: section_digest(stored(array)), arrays, sum(array.nbytes for array in arrays))
    entries, offset = [], 0
    for value, array, digest in zip(graph.constants(), arrays, digests, strict=True):
        entries.append(Entry(value.name, TensorType.of(array), offset, array.nbytes, digest))
        offset += padded(array.nbytes)
    return tuple(entries)


def _check_readable(path: Path, header: Header, arrays: list[Array]) -> None:
    """An origin with a line break, an attribute of a NumPy type...: better found now than when the file is loaded."""
    sections = tuple(
        ConstantSection(entry.name, entry.type, entry.offset, entry.bytes, entry.sha256, array)
        for entry, array in zip(header.entries, arrays, strict=True)
    )
    ModelFile(path, header.meta, header.graph_text, "", sections).graph()
