"""The header as canonical JSON: one spelling for one content, so that equal models are equal files."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, NoReturn

from alula.artifact.model import ModelMeta
from alula.artifact.spec import LARGEST_GRAPH, padded
from alula.core.dtype import DType
from alula.core.errors import ModelFormatError, ShapeError
from alula.ir.printer import print_attribute
from alula.ir.types import TensorType

_TYPE = re.compile(r"([a-z]+[0-9]*)\[((?:[0-9]{1,13},)*[0-9]{1,13})?\]")
_CONSTANT_LINE = re.compile(r"^  %\d+ = constant (.*)$", re.MULTILINE)
_DTYPES = {dtype.value for dtype in DType}
_SHA256 = re.compile(r"[0-9a-f]{64}")
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+\\?"?', re.DOTALL)
_LARGEST_COUNT = 1_000_000  # values; a section is five of them and at least 150 bytes, so no honest header has more
_META = {"target", "precision", "preprocess", "batch_range", "tuned_batch", "shape_mutable", "provenance"}
_OPTIONAL = {"kept"}  # left out where it is empty
_ENTRY = {"name", "type", "offset", "bytes", "sha256"}


@dataclass(frozen=True, slots=True)
class Entry:
    """A section as the header describes it; `offset` counts from the end of the header, `bytes` without padding."""

    name: str
    type: TensorType
    offset: int
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Header:
    """Description, graph as text, and sections in the order of the graph's constants."""

    meta: ModelMeta
    graph_text: str
    entries: tuple[Entry, ...]

    @property
    def section_bytes(self) -> int:
        """Bytes of all sections, padding included."""
        return self.entries[-1].offset + padded(self.entries[-1].bytes) if self.entries else 0

    def encode(self) -> bytes:
        """The canonical JSON: ASCII, sorted keys, no spaces, numbers in Python's shortest spelling."""
        sections = [
            {"name": e.name, "type": str(e.type), "offset": e.offset, "bytes": e.bytes, "sha256": e.sha256}
            for e in self.entries
        ]
        return canonical_json({**self.meta.to_json(), "graph": self.graph_text, "sections": sections})


def canonical_json(data: object) -> bytes:
    """`data` in its one spelling.  Raises ValueError for NaN and infinities, which JSON does not have."""
    return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode("ascii")


def decode_header(text: bytes) -> Header:
    """The header that `encode` wrote.  Raises ModelFormatError for anything else, even for another spelling of it."""
    data = _load(text)
    if type(data) is not dict or set(data) - _OPTIONAL != _META | {"graph", "sections"}:
        raise ModelFormatError(f"expected the keys {sorted(_META | {'graph', 'sections'})}, got others")
    if type(data["graph"]) is not str or type(data["sections"]) is not list:
        raise ModelFormatError("expected the graph as text and a list of sections, got other types")
    check_graph_size(data["graph"])
    meta = ModelMeta.from_json({key: data[key] for key in (_META | _OPTIONAL) & set(data)})
    header = Header(meta, data["graph"], _entries(data["sections"]))
    if header.encode() != text:
        raise ModelFormatError("expected canonical JSON, got another spelling")
    _check_against_graph(header)
    return header


def check_graph_size(text: str) -> None:
    """Raises ModelFormatError for a graph too long for a file."""
    if len(text) > LARGEST_GRAPH:
        raise ModelFormatError(f"graph: expected at most {LARGEST_GRAPH} characters, got {len(text)}")


def _load(text: bytes) -> Any:
    # Python takes seconds for millions of empty lists, so they are counted before any is made.
    bare = _STRING.sub(b"", text)
    values = 1 + sum(bare.count(sign) for sign in (b",", b"[", b"{"))
    if values > _LARGEST_COUNT:
        raise ModelFormatError(f"expected at most {_LARGEST_COUNT} values, got {values}")
    try:
        return json.loads(text.decode("ascii"), object_pairs_hook=_unique, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise ModelFormatError(f"expected JSON, got {str(error)[:80]}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        raise ModelFormatError("expected every key once, got one twice")
    return data


def _refuse(name: str) -> NoReturn:
    raise ModelFormatError(f"expected finite numbers, got {name}")


def _entries(sections: list[Any]) -> tuple[Entry, ...]:
    entries, offset = [], 0
    for number, data in enumerate(sections):
        if type(data) is not dict or set(data) != _ENTRY:
            raise ModelFormatError(f"section {number}: expected the keys {sorted(_ENTRY)}, got others")
        entries.append(_entry(number, data, offset))
        offset += padded(entries[-1].bytes)
    return tuple(entries)


def _entry(number: int, data: dict[str, Any], offset: int) -> Entry:
    where = f"section {number}"
    if type(data["name"]) is not str or type(data["type"]) is not str or type(data["sha256"]) is not str:
        raise ModelFormatError(f"{where}: expected name, type and digest as texts, got other types")
    type_, where = _type(where, data["type"]), f"{where} {data['name'][:80]!r}"
    for key, expected in (("bytes", type_.bytes), ("offset", offset)):
        if type(data[key]) is not int or data[key] != expected:
            raise ModelFormatError(f"{where}: expected {key} {expected}, got {str(data[key])[:40]}")
    if not _SHA256.fullmatch(data["sha256"]):
        raise ModelFormatError(f"{where}: expected a SHA-256 in hexadecimal, got {data['sha256'][:80]!r}")
    return Entry(data["name"], type_, offset, data["bytes"], data["sha256"])


def _type(where: str, text: str) -> TensorType:
    match = _TYPE.fullmatch(text)
    if match is None or match[1] not in _DTYPES:
        raise ModelFormatError(f"{where}: expected dtype[shape] with fixed sizes, got {text[:80]!r}")
    try:
        return TensorType(DType(match[1]), tuple(int(size) for size in match[2].split(",")) if match[2] else ())
    except ShapeError as error:
        raise ModelFormatError(f"{where}: {str(error)[:200]}") from None


def _check_against_graph(header: Header) -> None:
    """Whoever uses the sections without parsing the graph must still get those that the graph means."""
    declared = _CONSTANT_LINE.findall(header.graph_text)
    held = [f"{print_attribute(entry.name)} : {entry.type}" for entry in header.entries]
    if declared != held:
        pairs = [(a, b) for a, b in zip(declared, held, strict=False) if a != b]
        expected, got = pairs[0] if pairs else (f"{len(declared)} sections", f"{len(held)}")
        raise ModelFormatError(f"sections: expected {expected[:80]} as in the graph, got {got[:80]}")
