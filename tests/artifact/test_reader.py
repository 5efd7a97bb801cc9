"""Reading: round trip, every damage refused with its place, hostile files that carry the right digests."""

import hashlib
import json
import os
import random
import resource
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from mmap import mmap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alula.artifact.reader import parse, read_model
from alula.artifact.writer import write_model
from alula.core.errors import ModelFormatError
from tests.artifact.models import (
    KIB,
    META,
    of_size,
    seal,
    section,
    table_graph,
    take_apart,
    tiny_graph,
    with_graph,
    without_constants,
)

GOLDEN = Path(__file__).parent / "golden" / "tiny.alula"
GOLDEN_BYTES = GOLDEN.read_bytes()
HEADER, SECTIONS = take_apart(GOLDEN_BYTES)
START = len(GOLDEN_BYTES) - len(SECTIONS)
SECONDS = 5
MEMORY = 512 << 20


def message_of(data: bytes | bytearray, *, whole: bool) -> str:
    """What parsing `data`, with `whole` its graph too, says against it; empty where it is accepted."""
    try:
        model = parse(memoryview(data), Path("m.alula"))
        if whole:
            model.graph()
    except ModelFormatError as error:
        return str(error)
    return ""


def refusal(data: bytes | bytearray, *, whole: bool = False) -> str:
    """The message that refuses `data`, without the file's name; fails where it is accepted."""
    message = message_of(data, whole=whole)
    assert message.startswith("model file m.alula: ")
    assert "\n" not in message
    return message.removeprefix("model file m.alula: ")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, bytes]:
    """A model file of exactly 64 KiB and its bytes."""
    path = tmp_path_factory.mktemp("model") / "m.alula"
    return path, of_size(path, 64 * KIB)


def sections_start(data: bytes) -> int:
    return len(data) - len(take_apart(data)[1])


# What is read


def test_round_trip(tmp_path: Path) -> None:
    graph = table_graph(5000)
    write_model(tmp_path / "m.alula", graph, META)
    with read_model(tmp_path / "m.alula") as model:
        assert model.path == tmp_path / "m.alula"
        assert model.meta == META
        read = model.graph()
        assert str(read) == str(graph)
        assert [node.origin for node in read.nodes] == [node.origin for node in graph.nodes]
        for section, before, after in zip(model.constants, graph.constants(), read.constants(), strict=True):
            assert (section.name, section.type) == (before.name, before.type)
            assert after.data is section.array
            assert section.array.dtype == before.data.dtype
            assert section.array.tobytes() == before.data.tobytes()
            assert not section.array.flags.writeable
            assert section.offset % 64 == 0


def test_the_digest_names_the_content(tmp_path: Path) -> None:
    write_model(tmp_path / "a.alula", table_graph(64), META)
    changed = table_graph(64)
    changed.constants()[-1].data[5] ^= 1
    write_model(tmp_path / "b.alula", changed, META)
    first, second = (read_model(tmp_path / name).digest for name in ("a.alula", "b.alula"))
    assert first == (tmp_path / "a.alula").read_bytes()[32:64].hex()
    assert first != second


def test_arrays_outlive_the_model() -> None:
    model = read_model(GOLDEN)
    array = model.constants[0].array
    model.close()
    assert array[1, 2, 3] == 23 / 8


def test_sections_are_mapped_not_read(tmp_path: Path) -> None:
    write_model(tmp_path / "m.alula", table_graph(1 << 20), META)
    with read_model(tmp_path / "m.alula") as model:
        base = model.constants[-1].array
        while not isinstance(base, mmap):
            base = base.obj if isinstance(base, memoryview) else base.base
        assert not base.closed


def test_without_verification_sections_are_not_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "m.alula"
    path.write_bytes(GOLDEN_BYTES[:-1] + b"\1")
    read_model(path, verify_sections=False).close()
    with pytest.raises(ModelFormatError):
        read_model(path)


def test_many_large_sections_are_checked_on_threads(tmp_path: Path) -> None:
    """Above 1 MiB the sections are hashed on two threads; damage to each is still found, and the first named."""
    graph = tiny_graph()
    for number in range(6):
        graph.output(f"o{number}", graph.constant(np.full(300_000, number, np.uint8), f"c{number}"))
    write_model(tmp_path / "m.alula", graph, META)
    data = bytearray((tmp_path / "m.alula").read_bytes())
    model = parse(memoryview(bytes(data)), tmp_path)
    for part in model.constants[-6:]:
        data[part.offset + 12_345] ^= 4
        assert f"{part.name!r} at {part.offset}" in refusal(data)
        data[part.offset + 12_345] ^= 4
    for part in model.constants[-6:]:
        data[part.offset] ^= 1
    assert "'c0'" in refusal(data)


# Files that are none


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


UNREADABLE: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "expected a readable file, got No such file or directory"),
    "folder": (lambda path: path.mkdir(), "expected a file, got a folder"),
    "pipe": (make_fifo, "expected a file, got a device"),
    "empty": (lambda path: path.write_bytes(b""), "prologue at 0: expected 64 bytes, got 0"),
    "loop": (lambda path: path.symlink_to(path), "expected a readable file, got Too many levels of symbolic links"),
    "onnx": (
        lambda path: path.write_bytes(b"\x08\x08\x12\x07pytorch" + bytes(100)),
        r"magic at 0: expected a file that `alula build` made, got one that begins b'\x08\x08\x12\x07pyto'",
    ),
    "zip": (
        lambda path: path.write_bytes(b"PK\x03\x04" + bytes(100)),
        r"magic at 0: expected a file that `alula build` made, got one that begins b'PK\x03\x04\x00\x00\x00\x00'",
    ),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_what_is_no_model_file(tmp_path: Path, kind: str) -> None:
    make, expected = UNREADABLE[kind]
    make(tmp_path / "m.alula")
    with pytest.raises(ModelFormatError) as caught:
        read_model(tmp_path / "m.alula")
    assert str(caught.value) == f"model file {tmp_path / 'm.alula'}: {expected}"


def test_a_path_that_no_file_can_have() -> None:
    with pytest.raises(ModelFormatError, match="expected a readable file, got embedded null byte"):
        read_model(Path("a\0b"))


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    if not os.geteuid():
        pytest.skip("needs a user whom file permissions bind; root may read everything")
    (tmp_path / "m.alula").touch(0o000)
    with pytest.raises(ModelFormatError, match="Permission denied"):
        read_model(tmp_path / "m.alula")


def test_unknown_version() -> None:
    assert refusal(seal(HEADER, SECTIONS, version=2)) == "version at 8: expected 1, which this Alula reads, got 2"


# Damage: each bit, each length


def test_every_truncation_is_refused(sealed: tuple[Path, bytes]) -> None:
    _, data = sealed
    view = memoryview(data)
    for length in range(len(data)):
        with pytest.raises(ModelFormatError):
            parse(view[:length], Path("m.alula"))


def test_bytes_at_the_end_are_refused(sealed: tuple[Path, bytes]) -> None:
    for extra in (b"\0", b"\0" * 64, b"x" * 1000):
        assert refusal(sealed[1] + extra).startswith("file length at 24: expected 65536 bytes, got ")


def place_of(bit: int, start: int) -> str:
    """What a message about this bit before the sections has to begin with."""
    for end, what in ((8, "magic at 0"), (16, "version at 8"), (24, "header "), (32, "file length at 24")):
        if bit < end * 8:
            return what
    assert bit < start * 8
    return "header"


def test_every_bit_of_the_header_is_refused(sealed: tuple[Path, bytes]) -> None:
    damaged = bytearray(sealed[1])
    start = sections_start(sealed[1])
    for bit in range(start * 8):
        damaged[bit // 8] ^= 1 << bit % 8
        message = refusal(damaged)
        assert message.startswith((place_of(bit, start), "header length at 16")), (bit, message)
        damaged[bit // 8] ^= 1 << bit % 8


def test_20000_bits_of_the_sections_are_refused(sealed: tuple[Path, bytes]) -> None:
    damaged = bytearray(sealed[1])
    start = sections_start(sealed[1])
    parts = parse(memoryview(sealed[1]), Path("m.alula")).constants
    owner = {}  # bytes of a section, padding included -> its name and place
    for number, part in enumerate(parts):
        owner |= dict.fromkeys(
            range(part.offset, part.offset + -(-part.bytes // 64) * 64),
            f"section {number} {part.name!r} at {part.offset}",
        )
    for bit in random.Random(5).sample(range(start * 8, len(damaged) * 8), 20_000):
        damaged[bit // 8] ^= 1 << bit % 8
        assert refusal(damaged).startswith(owner[bit // 8])
        damaged[bit // 8] ^= 1 << bit % 8


def test_damage_is_refused_through_real_files(sealed: tuple[Path, bytes], tmp_path: Path) -> None:
    path, data = tmp_path / "m.alula", sealed[1]
    path.write_bytes(data)
    read_model(path).close()
    for bit in random.Random(6).sample(range(len(data) * 8), 200):
        with path.open("r+b") as file:
            file.seek(bit // 8)
            file.write(bytes([data[bit // 8] ^ 1 << bit % 8]))
        with pytest.raises(ModelFormatError, match=r"m\.alula: "):
            read_model(path)
        with path.open("r+b") as file:
            file.seek(bit // 8)
            file.write(data[bit // 8 : bit // 8 + 1])
    for length in random.Random(7).sample(range(len(data)), 200):
        path.write_bytes(data[:length])
        with pytest.raises(ModelFormatError, match=r"m\.alula: "):
            read_model(path)


EDITS = st.lists(
    st.tuples(st.sampled_from(["set", "insert", "delete", "move"]), st.integers(0, 4095), st.binary(max_size=80)),
    min_size=1,
    max_size=4,
)


def edited(data: bytes, edits: list[tuple[str, int, bytes]]) -> bytes:
    for kind, place, piece in edits:
        place %= len(data) + 1
        match kind:
            case "set":
                data = data[:place] + piece + data[place + len(piece) :]
            case "insert":
                data = data[:place] + piece + data[place:]
            case "delete":
                data = data[:place] + data[place + len(piece) :]
            case "move":
                data = data[place:] + data[:place]
    return data


@given(EDITS)
@settings(max_examples=500, deadline=None)
def test_edited_files_only_raise(edits: list[tuple[str, int, bytes]]) -> None:
    data = edited(GOLDEN_BYTES, edits)
    if data != GOLDEN_BYTES:
        refusal(data)


@given(EDITS)
@settings(max_examples=500, deadline=None)
def test_edited_headers_with_the_right_digest_only_raise(edits: list[tuple[str, int, bytes]]) -> None:
    """Whoever seals a changed header anew gets an error or, rarely, another model; never another exception."""
    size = struct.unpack_from("<Q", GOLDEN_BYTES, 16)[0]
    data = seal(edited(GOLDEN_BYTES[64 : 64 + size], edits), SECTIONS)
    assert "\n" not in message_of(data, whole=True)


# Hostile headers, sealed with the right digests


@contextmanager
def bounded() -> Iterator[None]:
    """At most 5 seconds of the processor and 512 MiB more address space than now."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, before[1]))
    start = time.process_time()
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)
    assert time.process_time() - start < SECONDS


def refused(data: bytes, fragment: str) -> None:
    with bounded():
        message = refusal(data, whole=True)
    assert fragment in message
    assert len(message) < 1000


def entry(number: int, **changes: Any) -> dict[str, Any]:
    sections = [dict(part) for part in HEADER["sections"]]
    sections[number].update(changes)
    return {"sections": sections}


BIG = "1099511627776"
HUGE = f"i64[0{f',{BIG}' * 5}]"
HEADERS: dict[str, tuple[dict[str, Any], str]] = {
    "unknown key": ({"code": "x"}, "expected the keys "),
    "graph not text": ({"graph": ["x"]}, "expected the graph as text"),
    "sections not a list": ({"sections": {}}, "expected the graph as text and a list of sections"),
    "section not an object": ({"sections": [3]}, "section 0: expected the keys "),
    "missing sections": ({"sections": []}, "sections: expected 6 sections"),
    "one section too few": (
        {"sections": HEADER["sections"][:-1]},
        "sections: expected 6 sections as in the graph, got 5",
    ),
    "one section too many": ({"sections": [*HEADER["sections"], section("z", "f32[]", bytes(4), 384)]}, "got 7"),
    "sections in another order": ({"sections": HEADER["sections"][::-1]}, "section "),
    "another name": (entry(0, name="v"), 'sections: expected "w" : f32[2,3,4] as in the graph, got "v"'),
    "a name with a line break": (entry(0, name='w" : f32[]\n'), "sections: expected "),
    "another shape": (entry(0, type="f32[24]"), 'sections: expected "w" : f32[2,3,4]'),
    "another type": (entry(0, type="i32[2,3,4]"), 'sections: expected "w" : f32[2,3,4]'),
    "fewer bytes": (entry(0, bytes=92), "section 0 'w': expected bytes 96, got 92"),
    "more bytes": (entry(0, bytes=1 << 62), "section 0 'w': expected bytes 96"),
    "bytes as float": (entry(0, bytes=96.0), "section 0 'w': expected bytes 96, got 96.0"),
    "flag as bytes": (entry(2, type="bool[1]", bytes=True), "expected bytes 1, got True"),
    "overlapping sections": (entry(1, offset=64), "section 1 'b': expected offset 128, got 64"),
    "negative offset": (entry(0, offset=-64), "section 0 'w': expected offset 0, got -64"),
    "offset of a gap": (entry(1, offset=192), "section 1 'b': expected offset 128, got 192"),
    "huge size": (entry(0, type="f32[9999999999999]", bytes=39999999999996), "section 0: expected dimensions of 0.."),
    "huge shape": (entry(0, type=f"f32[{BIG},{BIG},{BIG}]", bytes=int(BIG) ** 3 * 4), "expected offset "),
    "huge shape of no elements": (
        {**entry(5, type=HUGE), "graph": HEADER["graph"].replace("i64[0,3]", HUGE)},
        "section 5 'nothing': expected a possible shape",
    ),
    "unknown type": (entry(0, type="c64[2]"), "expected dtype[shape] with fixed sizes, got 'c64[2]'"),
    "symbolic shape": (entry(0, type="f32[N]"), "expected dtype[shape] with fixed sizes"),
    "negative size": (entry(0, type="f32[-1]"), "expected dtype[shape] with fixed sizes"),
    "leading zero": (entry(0, type="f32[02,3,4]"), "expected canonical JSON"),
    "rank of a million": (
        entry(0, type="f32[" + ",".join(["1"] * 1_000_000) + "]"),
        "section 0: expected rank 32 or less",
    ),
    "digest in capitals": (entry(0, sha256="A" * 64), "expected a SHA-256 in hexadecimal"),
    "digest not text": (entry(0, sha256=3), "expected name, type and digest as texts"),
    "target not text": ({"target": 3}, "target: expected a lower-case word"),
    "target with a path": ({"target": "../x"}, "target: expected a lower-case word"),
    "long precision": ({"precision": "a" * 65}, "precision: expected a lower-case word"),
    "flag as number": ({"shape_mutable": 1}, "shape_mutable: expected true or false"),
    "batch 0": ({"batch_range": [0, 8]}, "batch sizes: expected 1 <= low <= tuned <= high"),
    "huge batch": ({"batch_range": [1, 1 << 31]}, "batch sizes: expected "),
    "batch as float": ({"batch_range": [1.0, 8]}, "batch sizes: expected integers"),
    "one batch number": ({"batch_range": [1]}, "batch_range: expected two integers"),
    "tuned outside": ({"tuned_batch": 9}, "batch sizes: expected "),
    "range that cannot change": ({"shape_mutable": False}, "batch_range: expected one batch"),
    "provenance of numbers": ({"provenance": {"a": 1}}, "provenance: expected texts"),
    "provenance not an object": ({"provenance": []}, "provenance: expected an object"),
    "reasons of numbers": ({"kept": {"linear a": 1}}, "kept: expected texts"),
    "reasons not an object": ({"kept": []}, "kept: expected an object"),
    "no reasons": ({"kept": {}}, "expected canonical JSON, got another spelling"),
    "preprocess not an object": ({"preprocess": []}, "preprocess: expected a JSON object"),
    "preprocess of unknown keys": ({"preprocess": {"path": "x"}}, "preprocess: expected keys among"),
    "preprocess with too few keys": ({"preprocess": {"crop": 8, "resize": 9}}, "expected canonical JSON"),
    "preprocess means as text": ({"preprocess": {**HEADER["preprocess"], "mean": "abc"}}, "preprocess"),
    "preprocess of nested means": ({"preprocess": {**HEADER["preprocess"], "mean": [[], [], []]}}, "preprocess"),
    "preprocess mean beyond floats": ({"preprocess": {**HEADER["preprocess"], "mean": [10**400, 0, 0]}}, "preprocess"),
    "preprocess crop as float": ({"preprocess": {**HEADER["preprocess"], "crop": 8.5}}, "preprocess"),
    "preprocess of a huge crop": (
        {"preprocess": {**HEADER["preprocess"], "crop": 1 << 40, "resize": 1 << 40}},
        "preprocess",
    ),
    "preprocess flag as number": ({"preprocess": {**HEADER["preprocess"], "folded": 1}}, "preprocess"),
}


@pytest.mark.parametrize("case", HEADERS)
def test_hostile_headers(case: str) -> None:
    changes, fragment = HEADERS[case]
    refused(seal({**HEADER, **changes}, SECTIONS), fragment)


def text_of(**changes: Any) -> bytes:
    return json.dumps({**HEADER, **changes}, sort_keys=True, separators=(",", ":")).encode()


SPELLINGS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "expected JSON"),
    "a list": (b"[]", "expected the keys"),
    "spaces": (json.dumps(HEADER, sort_keys=True).encode(), "expected canonical JSON"),
    "another order": (json.dumps(dict(reversed(HEADER.items())), separators=(",", ":")).encode(), "canonical"),
    "a key twice": (text_of()[:-1] + b',"target":"avx2"}', "expected every key once"),
    "a key twice inside": (text_of().replace(b'"crop":8', b'"crop":8,"crop":8'), "expected every key once"),
    "two texts": (text_of() + b"{}", "expected JSON"),
    "text in UTF-8": (text_of(precision="x").replace(b'"x"', '"é"'.encode()), "expected JSON"),
    "a byte order mark": (b"\xef\xbb\xbf" + text_of(), "expected JSON"),
    "an escape that is not needed": (text_of().replace(b'"avx2"', b'"\\u0061vx2"'), "expected canonical JSON"),
    "a longer number": (text_of().replace(b'"tuned_batch":2', b'"tuned_batch":2.0'), "expected integers"),
    "not a number": (text_of().replace(b"0.485", b"NaN"), "expected finite numbers, got NaN"),
    "infinity": (text_of().replace(b"0.485", b"-Infinity"), "expected finite numbers, got -Infinity"),
    "a number beyond floats": (text_of().replace(b"0.485", b"1e999"), ""),
    "a number of 5000 digits": (
        text_of().replace(b'"tuned_batch":2', b'"tuned_batch":' + b"9" * 5000),
        "expected JSON",
    ),
    "1000 lists in each other": (b"[" * 1000 + b"]" * 1000, "expected "),
    "a million lists in each other": (b"[" * 999_999 + b"]" * 999_999, "expected JSON"),
    "a million objects in each other": (b'{"a":' * 999_999 + b"0" + b"}" * 999_999, "expected JSON"),
    "five million empty lists": (b"[" + b"[]," * 5_000_000 + b"[]]", "expected at most 1000000 values, got 10000003"),
    "as many beside a string": (
        b'["\\\\",' + b"[]," * 5_000_000 + b"[]]",
        "expected at most 1000000 values, got 10000004",
    ),
    "a million signs in a string": (b'["\\"' + b"[]," * 500_000 + b'"]', "expected the keys"),
    "eight million quotes in a string": (b'["' + b'\\"' * 8_000_000, "expected JSON"),
    "a string that ends in its escape": (b'["' + b"," * 2_000_000 + b"\\", "expected JSON"),
    "longer than a header may be": (
        b"[" + b"[]," * 6_000_000 + b"[]]",
        "header length at 16: expected at most 16777216",
    ),
}


@pytest.mark.parametrize("case", SPELLINGS)
def test_hostile_spellings(case: str) -> None:
    text, fragment = SPELLINGS[case]
    refused(seal(text, SECTIONS), fragment)


def test_bits_of_the_lengths_are_bounds_checked_before_use() -> None:
    for at, value in ((16, 1 << 63), (16, (1 << 64) - 1), (16, 0), (24, (1 << 64) - 1), (24, 0)):
        data = bytearray(GOLDEN_BYTES)
        struct.pack_into("<Q", data, at, value)
        with bounded():
            assert refusal(data).startswith(("header ", "file length at 24"))


def test_padding_must_be_zero_whatever_the_digest_says() -> None:
    data = bytearray(GOLDEN_BYTES)
    end = 64 + struct.unpack_from("<Q", data, 16)[0]
    assert end % 64
    data[end] = 1
    assert refusal(data).startswith(f"header, padding at {end}: expected zeros, got 01")
    data[32:64] = hashlib.sha256(data[64:START]).digest()
    assert refusal(data).startswith("header at 64: expected SHA-256 ")


def test_booleans_are_0_or_1() -> None:
    flags = HEADER["sections"][4]
    sections = bytearray(SECTIONS)
    sections[flags["offset"] + 1] = 2
    changed = section("flags", "bool[3]", b"\1\2\1", flags["offset"])
    refused(seal({**HEADER, **entry(4, **changed)}, bytes(sections)), "expected booleans of 0 or 1")


@pytest.mark.parametrize("sections", [b"", SECTIONS[:-64], SECTIONS + bytes(64)])
def test_sections_fill_the_file(sections: bytes) -> None:
    expected = f"sections at {START}: expected {len(SECTIONS)} bytes, got {len(sections)}"
    assert refusal(seal(HEADER, sections)) == expected


def lines(*body: str, sizes: str = "N in 1..8") -> str:
    return "\n".join([f'graph "g" ({sizes}) {{', '  %0 = input "x" : f32[N,4]', *body, "}", ""])


CHAIN = 'graph "g" (N in 1..8) {\n  %0 = input "x" : f32[N,4]\n'
GRAPHS: dict[str, str] = {
    "nothing": "",
    "no graph": "hello\n",
    "no end": 'graph "g" () {\n',
    "an unknown op": lines("  %1 = system(%0) : f32[N,4]"),
    "an op with a dunder name": lines("  %1 = __import__(%0) : f32[N,4]"),
    "code as an attribute": lines("  %1 = relu(%0) {x=__import__('os')} : f32[N,4]"),
    "an unknown attribute": lines("  %1 = relu(%0) {x=1} : f32[N,4]"),
    "a value not defined": lines("  %1 = relu(%7) : f32[N,4]"),
    "a value that needs itself": lines("  %1 = relu(%1) : f32[N,4]"),
    "two values that need each other": lines("  %1 = relu(%2) : f32[N,4]", "  %2 = relu(%1) : f32[N,4]"),
    "a value defined twice": lines("  %0 = relu(%0) : f32[N,4]"),
    "an output not defined": lines('  output "y" = %9'),
    "a constant without a section": lines('  %1 = constant "c" : f32[4]', "  %2 = add(%0, %1) : f32[N,4]"),
    "a wrong type": lines("  %1 = relu(%0) : f32[N,5]"),
    "an unknown dtype": lines('  %1 = input "z" : c64[4]'),
    "an unknown size": lines('  %1 = input "z" : f32[M]'),
    "a negative size": lines('  %1 = input "z" : f32[-4]'),
    "a huge size": lines('  %1 = input "z" : f32[99999999999999999999999]'),
    "a huge tensor": lines(f'  %1 = input "z" : f32[{",".join(["1099511627775"] * 8)}]', '  output "y" = %1'),
    "a range upside down": lines(sizes="N in 8..1"),
    "a range of a name that is no name": lines(sizes="1 in 1..8"),
    "a graph in a graph": lines('graph "h" () {', "}"),
    "a rank of 10,000": lines(f'  %1 = input "z" : f32[{",".join(["1"] * 10_000)}]'),
    "parentheses in each other": lines(f'  %1 = input "z" : f32[{"(" * 5000}N{")" * 5000}]'),
    "divisions in each other": lines(f'  %1 = input "z" : f32[{"(" * 90}N{"//2+1)" * 90}]'),
    "tuples in each other": lines(f"  %1 = reshape(%0) {{shape={'(' * 9000}1{',)' * 9000}}} : f32[N,4]"),
    "minus signs": lines(f"  %1 = leaky_relu(%0) {{slope={'-' * 30_000}1.0}} : f32[N,4]"),
    "a sum of 10,000": lines(f'  %1 = input "z" : f32[{"+".join(["N"] * 10_000)}]'),
    "a product of 10,000": lines(f'  %1 = input "z" : f32[{"*".join(["N"] * 10_000)}]'),
    "a power of a sum": lines(
        f'  %1 = input "z" : f32[{"*".join(["(A+B+C+D+E+F+G)"] * 60)}]',
        sizes=", ".join(f"{name} in 1..8" for name in "ABCDEFGN"),
    ),
    "a number of 60,000 digits": lines(f"  %1 = leaky_relu(%0) {{slope={'9' * 60_000}}} : f32[N,4]"),
    "a line of 70,000 characters": lines(f'  %1 = input "{"z" * 70_000}" : f32[N]'),
    "what makes a pattern go back": lines("  %1 = relu(%0) {" + "} : " * 16_000 + "#"),
    "another such": lines("  %1 = relu(%0) {" + '"' + "\\" * 60_000),
    "shape of a wrong kind": lines("  %1 = reshape(%0) {shape=4} : f32[N,4]"),
    "shape of texts": lines('  %1 = reshape(%0) {shape=("N", "4")} : f32[N,4]'),
    "shape of floats": lines("  %1 = reshape(%0) {shape=(N, 4.0)} : f32[N,4]"),
    "shape of flags": lines("  %1 = reshape(%0) {shape=(N, 4, True)} : f32[N,4,True]"),
    "a huge shape": lines(f"  %1 = expand(%0) {{shape=({'1099511627775, ' * 30}N, 4)}} : f32[N,4]"),
    "a number as a dtype": lines("  %1 = cast(%0) {dtype=3} : f32[N,4]"),
    "a dtype as a slope": lines("  %1 = leaky_relu(%0) {slope=f32} : f32[N,4]"),
    "an axis out of range": lines("  %1 = softmax(%0) {axis=7} : f32[N,4]"),
    "a negative axis": lines("  %1 = softmax(%0) {axis=-1} : f32[N,4]"),
    "an axis as text": lines('  %1 = softmax(%0) {axis="1"} : f32[N,4]'),
    "axes of a wrong kind": lines("  %1 = reduce_sum(%0) {axes=1} : f32[N]"),
    "a step of zero": lines("  %1 = slice(%0) {axis=1, start=0, stop=4, step=0} : f32[N,4]"),
    "a slice beyond the end": lines("  %1 = slice(%0) {axis=1, start=0, stop=9} : f32[N,9]"),
    "a negative pad": lines("  %1 = pad(%0) {before=(0, -4), after=(0, 0)} : f32[N,0]"),
    "a huge pad": lines("  %1 = pad(%0) {before=(0, 4611686018427387904), after=(0, 0)} : f32[N,4611686018427387908]"),
    "a kernel of zero": lines("  %1 = max_pool2d(%0) {kernel=(0, 0), stride=(0, 0)} : f32[N,4]"),
    "no operands": lines("  %1 = add() : f32[N,4]"),
    "too many operands": lines(f"  %1 = relu({', '.join(['%0'] * 1000)}) : f32[N,4]"),
    "two results of one": lines("  %1, %2 = relu(%0) : f32[N,4], f32[N,4]"),
    "numbers that are not in order": lines("  %5 = relu(%0) : f32[N,4]", '  output "y" = %5'),
    "a null character": lines('  output "\0" = %0'),
    "half a character": lines('  output "\ud800" = %0'),
    "a carriage return": lines('  output "y" = %0\r'),
    "digits of another script": lines('  %1 = input "z" : f32[٣]'),
    "twenty thousand nodes, then a mistake": (
        CHAIN + "".join(f"  %{i} = relu(%{i - 1}) : f32[N,4]\n" for i in range(1, 20_000)) + "  oops\n}\n"
    ),
}


@pytest.mark.parametrize("case", GRAPHS)
def test_hostile_graphs(case: str) -> None:
    refused(without_constants(GOLDEN_BYTES, GRAPHS[case]), "graph" if "constant" not in GRAPHS[case] else "sections")


def test_more_text_than_a_graph_may_have() -> None:
    text = CHAIN + "".join(f"  %{i} = relu(%{i - 1}) : f32[N,4]\n" for i in range(1, 80_000)) + "}\n"
    refused(without_constants(GOLDEN_BYTES, text), "graph: expected at most 2097152 characters, got ")


def test_the_graphs_above_are_refused_for_what_they_say() -> None:
    """Their frame is sound: without the hostile line it is read."""
    data = without_constants(GOLDEN_BYTES, lines("  %1 = relu(%0) : f32[N,4]", '  output "y" = %1'))
    assert len(parse(memoryview(data), Path("m.alula")).graph().nodes) == 1


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("features=5", "features=8"),
        ("features=5", "features=5, panel=4"),
        ("panel=4", "panel=0"),
        ("linear(%0, %1, %2)", "linear(%0, %2, %1)"),
        ("linear(%0, %1, %2)", "linear(%0, %1)"),
        ('output "flags" = %5', 'output "flags" = %6'),
        ("dtype=f32", "dtype=f64"),
    ],
)
def test_graphs_with_their_constants_changed(old: str, new: str) -> None:
    assert old in HEADER["graph"]
    text = HEADER["graph"].replace(old, new)
    refused(with_graph(GOLDEN_BYTES, text), "header, graph: ")
