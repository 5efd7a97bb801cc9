"""Saving: the golden bytes, the same bytes for the same input, whole files or none."""

import errno
import hashlib
import json
import os
import signal
import stat
import struct
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from alula.artifact import writer
from alula.artifact.reader import read_model
from alula.artifact.writer import stored, write_model
from alula.core.dtype import DType, to_bfloat16
from alula.core.errors import AlulaError, ModelFormatError
from alula.ir.types import TensorType
from tests.artifact.models import META, canonical, table_graph, take_apart, tiny_graph

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = Path(__file__).parent / "golden" / "tiny.alula"


def write_tiny(path: Path) -> bytes:
    write_model(path, tiny_graph(), META)
    return path.read_bytes()


def test_golden_bytes(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    data = write_tiny(tmp_path / "tiny.alula")
    if request.config.getoption("--update-golden"):
        GOLDEN.write_bytes(data)
    assert data == GOLDEN.read_bytes()


def test_golden_file_is_what_the_format_says() -> None:
    """Read with nothing of ours but the document's words."""
    data = GOLDEN.read_bytes()
    magic, version, size, total = struct.unpack_from("<8sQQQ", data)
    assert (magic, version, total) == (b"\x89ALULA\r\n", 1, len(data))
    start = 64 + -(-size // 64) * 64
    assert data[32:64] == hashlib.sha256(data[64:start]).digest()
    assert data[64 + size : start] == bytes(start - 64 - size)
    header = json.loads(data[64 : 64 + size])
    assert canonical(header) == data[64 : 64 + size]
    assert header["graph"].startswith('graph "tiny" (N in 1..8) {\n  %0 = input "x" : f32[N,3]\n')
    assert "# head.fc linear.py:125" in header["graph"]
    names = [entry["name"] for entry in header["sections"]]
    assert names == ["w", "b", "half", 'scale "q"', "flags", "nothing"]
    raw, place = {}, 0
    for entry in header["sections"]:
        assert entry["offset"] == place
        first, place = start + place, place + -(-entry["bytes"] // 64) * 64
        assert entry["sha256"] == hashlib.sha256(data[first : start + place]).hexdigest()
        assert not any(data[first + entry["bytes"] : start + place])
        raw[entry["name"]] = data[first : first + entry["bytes"]]
    assert start + place == len(data)
    assert raw["w"] == struct.pack("<24f", *(i / 8 for i in range(24)))
    assert raw["b"] == struct.pack("<5f", -1, -0.5, 0, 0.5, 1)
    assert raw["half"] == struct.pack("<f", 0.5)
    assert raw['scale "q"'] == bytes.fromhex("803f 00c0 6040")  # the upper halves of 1.0, -2.0 and 3.5
    assert raw["flags"] == b"\1\0\1"
    assert raw["nothing"] == b""


def test_same_input_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    first = write_tiny(tmp_path / "a.alula")
    reordered = replace(META, provenance=dict(reversed(META.provenance.items())))
    write_model(tmp_path / "elsewhere" / "b.alula", tiny_graph(), reordered)
    assert (tmp_path / "elsewhere" / "b.alula").read_bytes() == first


def test_written_back_it_is_the_same_file(tmp_path: Path) -> None:
    first = write_tiny(tmp_path / "a.alula")
    with read_model(tmp_path / "a.alula") as model:
        write_model(tmp_path / "b.alula", model.graph(), model.meta)
    assert (tmp_path / "b.alula").read_bytes() == first


@pytest.mark.parametrize(
    "array",
    [
        np.arange(6, dtype=">f8").reshape(2, 3),
        np.arange(6, dtype=np.int16).reshape(2, 3).T,
        np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2],
        np.array(7, ">i4"),
        to_bfloat16(np.ones((2, 2), np.float32)).T,
        np.zeros((3, 0), np.uint8),
    ],
    ids=["big-endian", "transposed", "strided", "rank-0", "bfloat16", "empty"],
)
def test_any_memory_layout_is_stored_little_endian_in_c_order(array: np.ndarray) -> None:
    plain = array.view(array.dtype) if array.dtype.names else array.astype(array.dtype.newbyteorder("<"))
    assert bytes(stored(array)) == plain.tobytes()


def test_plain_arrays_are_not_copied() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    view = stored(array)
    array[0, 0] = 5
    assert bytes(view[:4]) == struct.pack("<f", 5)


def test_writing_takes_no_second_copy_of_the_weights(tmp_path: Path) -> None:
    """64 MB of weights in 16 constants; the process may grow by a quarter of that."""
    code = f"""
        import sys
        sys.path.insert(0, {str(ROOT)!r})
        from pathlib import Path
        import numpy as np
        from alula.artifact.writer import write_model
        from tests.artifact.models import META, tiny_graph
        def peak():
            return int(Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0])
        graph = tiny_graph()
        for i in range(16):
            graph.output(f"o{{i}}", graph.constant(np.full(1_000_000, i, np.float32), f"c{{i}}"))
        write_model(Path("warm.alula"), tiny_graph(), META)
        before = peak()
        write_model(Path("big.alula"), graph, META)
        print(peak() - before)
    """
    if not Path("/proc/self/status").exists():
        pytest.skip("needs /proc/self/status to measure memory")
    command = [sys.executable, "-c", textwrap.dedent(code)]
    grown = int(subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True).stdout)
    assert (tmp_path / "big.alula").stat().st_size > 64_000_000
    assert grown < 16_000


def full_disk(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(("where", "call"), [(os, "fsync"), (Path, "replace")])
def test_full_disk_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: object, call: str
) -> None:
    old = write_tiny(tmp_path / "m.alula")
    with monkeypatch.context() as patch:
        patch.setattr(where, call, full_disk)
        with pytest.raises(AlulaError) as caught:
            write_model(tmp_path / "m.alula", table_graph(1000), META)
    expected = f"writing {tmp_path / 'm.alula'}: expected a writable place, got No space left on device"
    assert str(caught.value) == expected
    assert (tmp_path / "m.alula").read_bytes() == old
    assert [path.name for path in tmp_path.iterdir()] == ["m.alula"]


def test_really_full_disk_leaves_the_old_file(tmp_path: Path) -> None:
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    if os.geteuid() or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small tmpfs")
    try:
        old = write_tiny(tmp_path / "m.alula")
        with pytest.raises(AlulaError, match="No space left on device"):
            write_model(tmp_path / "m.alula", table_graph(200_000), META)
        assert (tmp_path / "m.alula").read_bytes() == old
        assert [path.name for path in tmp_path.iterdir()] == ["m.alula"]
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_writer_leaves_the_old_file(tmp_path: Path, stop: signal.Signals) -> None:
    old = write_tiny(tmp_path / "m.alula")
    code = f"""
        import os, sys
        sys.path.insert(0, {str(ROOT)!r})
        from pathlib import Path
        from alula.artifact import writer
        from tests.artifact.models import META, table_graph
        count, padding = 0, writer.padding
        def counting(size):
            global count
            count += 1
            if count == 4:  # in the middle of the sections
                os.kill(os.getpid(), {int(stop)})
            return padding(size)
        writer.padding = counting
        writer.write_model(Path("m.alula"), table_graph(100_000), META)
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == -stop, done.stderr
    assert (tmp_path / "m.alula").read_bytes() == old
    read_model(tmp_path / "m.alula").close()
    if stop == signal.SIGINT:
        assert [path.name for path in tmp_path.iterdir()] == ["m.alula"]


def test_mode_is_what_the_umask_allows(tmp_path: Path) -> None:
    umask = os.umask(0o027)
    try:
        write_tiny(tmp_path / "m.alula")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "m.alula").stat().st_mode) == 0o640


@pytest.mark.parametrize("place", ["missing/m.alula", "file/m.alula", "folder"])
def test_unusable_places(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(AlulaError, match=r"writing .*: expected a writable place, got ") as caught:
        write_model(tmp_path / place, tiny_graph(), META)
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_forbidden_folder(tmp_path: Path) -> None:
    if not os.geteuid():
        pytest.skip("needs a user whom folder permissions bind; root may write everywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(AlulaError, match="Permission denied"):
        write_model(tmp_path / "m.alula", tiny_graph(), META)
    tmp_path.chmod(0o700)


def test_a_graph_that_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    graph = tiny_graph()
    graph.inputs[0].type = TensorType(DType.F32, (4, 4))  # the weights are for 3 features
    with pytest.raises(ModelFormatError, match=r"model file .*m\.alula: header, graph: .*linear"):
        write_model(tmp_path / "m.alula", graph, META)
    assert not list(tmp_path.iterdir())


def test_headers_beyond_the_limit_are_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writer, "LARGEST_HEADER", 1000)
    with pytest.raises(ModelFormatError, match="expected at most 1000 bytes of header, got "):
        write_tiny(tmp_path / "m.alula")
    assert not list(tmp_path.iterdir())


def test_no_path_and_no_time_in_the_file(tmp_path: Path) -> None:
    data = write_tiny(tmp_path / "m.alula")
    header, _ = take_apart(data)
    assert str(tmp_path).encode() not in data
    assert set(header) == {
        *("target", "precision", "preprocess", "batch_range", "tuned_batch", "shape_mutable", "provenance"),
        *("graph", "sections"),
    }


def test_reasons_for_what_is_not_quantised_come_back(tmp_path: Path) -> None:
    meta = replace(META, kept={"linear head.fc linear.py:125": "slower in int8"})
    write_model(tmp_path / "kept.alula", tiny_graph(), meta)
    with read_model(tmp_path / "kept.alula") as file:
        assert file.meta == meta
    assert b'"kept"' not in write_tiny(tmp_path / "tiny.alula")
