"""The object cache: what is put is found, what is damaged or not ours is not, and no file system makes it raise."""

import errno
import os
import shutil
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from alula.runtime import cache as module
from alula.runtime.cache import CacheStatus, ObjectCache, cache_key, default_folder, object_key, sources_digest

ROOT = Path(__file__).resolve().parents[2]
PARTS = {"object": bytes(range(256)) * 4, "program": b'{"kernels": []}', "empty": b""}


@pytest.fixture
def cache(tmp_path: Path) -> ObjectCache:
    return ObjectCache(tmp_path / "cache")


def entry_of(cache: ObjectCache) -> Path:
    (path,) = cache.folder.iterdir()
    return path


def age(path: Path, seconds: float) -> None:
    os.utime(path, (time.time() - seconds,) * 2)


def test_what_is_put_is_found(cache: ObjectCache) -> None:
    assert cache.get("k") is None
    cache.put("k", PARTS)
    assert cache.get("k") == PARTS
    assert list(cache.get("k") or {}) == list(PARTS)
    assert cache.get("other") is None
    assert ObjectCache(cache.folder).get("k") == PARTS


def test_a_second_put_replaces_the_first(cache: ObjectCache) -> None:
    cache.put("k", PARTS)
    cache.put("k", {"object": b"new"})
    assert cache.get("k") == {"object": b"new"}
    assert cache.status().entries == 1


@given(st.text(max_size=40), st.dictionaries(st.text(max_size=20), st.binary(max_size=200), max_size=4))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_key_and_parts(tmp_path: Path, key: str, parts: dict[str, bytes]) -> None:
    cache = ObjectCache(tmp_path / "any")
    cache.put(key, parts)
    assert cache.get(key) == parts


def test_modes_are_for_the_owner_only(tmp_path: Path) -> None:
    umask = os.umask(0)
    try:
        cache = ObjectCache(tmp_path / "cache")
        cache.put("k", PARTS)
    finally:
        os.umask(umask)
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(entry_of(cache).stat().st_mode) == 0o600


def test_every_damaged_bit_and_length_is_ignored(cache: ObjectCache) -> None:
    cache.put("k", {"object": b"code" * 8, "program": b"{}"})
    data = entry_of(cache).read_bytes()
    for bit in range(len(data) * 8):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        entry_of(cache).write_bytes(damaged)
        assert cache.get("k") is None, f"bit {bit}"
    for length in range(len(data)):
        entry_of(cache).write_bytes(data[:length])
        assert cache.get("k") is None, f"length {length}"
    entry_of(cache).write_bytes(data + b"\0")
    assert cache.get("k") is None


def test_a_damaged_entry_is_written_anew(cache: ObjectCache) -> None:
    cache.put("k", PARTS)
    entry_of(cache).write_bytes(b"x")
    cache.put("k", PARTS)
    assert cache.get("k") == PARTS


def test_the_entry_of_another_key_is_ignored(cache: ObjectCache) -> None:
    cache.put("a", PARTS)
    a = entry_of(cache)
    cache.put("b", {"object": b"b"})
    (b,) = set(cache.folder.iterdir()) - {a}
    b.write_bytes(a.read_bytes())
    assert cache.get("a") == PARTS
    assert cache.get("b") is None


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610])
def test_an_entry_that_others_may_touch_is_ignored_and_replaced(cache: ObjectCache, mode: int) -> None:
    cache.put("k", PARTS)
    entry_of(cache).chmod(mode)
    assert cache.get("k") is None
    cache.put("k", PARTS)
    assert cache.get("k") == PARTS


def test_an_entry_that_is_a_link_is_ignored_and_replaced(cache: ObjectCache, tmp_path: Path) -> None:
    cache.put("k", PARTS)
    path = entry_of(cache)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert cache.get("k") is None
    cache.put("k", PARTS)
    assert cache.get("k") == PARTS
    assert not path.is_symlink()


def test_an_entry_that_is_a_pipe_does_not_block(cache: ObjectCache) -> None:
    cache.put("k", PARTS)
    path = entry_of(cache)
    path.unlink()
    os.mkfifo(path, 0o600)
    assert cache.get("k") is None


def test_what_another_user_owns_is_not_trusted(cache: ObjectCache, monkeypatch: pytest.MonkeyPatch) -> None:
    cache.put("k", PARTS)
    monkeypatch.setattr(os, "geteuid", lambda: cache.folder.stat().st_uid + 1)
    assert cache.get("k") is None
    cache.put("k", PARTS)
    status = cache.status()
    assert not status.writable
    assert "expected a folder of user " in status.reason


def test_an_entry_of_another_user_is_ignored(cache: ObjectCache) -> None:
    if os.geteuid():
        pytest.skip("needs root to give a file away")
    cache.put("k", PARTS)
    os.chown(entry_of(cache), 12345, -1)
    assert cache.get("k") is None
    cache.put("k", PARTS)
    assert cache.get("k") == PARTS


@pytest.mark.parametrize("mode", [0o720, 0o702, 0o777])
def test_a_folder_that_others_may_write_to_is_not_used(cache: ObjectCache, mode: int) -> None:
    cache.put("k", PARTS)
    cache.folder.chmod(mode)
    assert cache.get("k") is None
    cache.put("j", PARTS)
    status = cache.status()
    assert (status.writable, status.entries) == (False, 1)
    assert status.reason == f"{cache.folder}: expected it writable by its owner only, got mode {mode:o}"


def test_a_folder_that_is_a_link_is_not_used(cache: ObjectCache, tmp_path: Path) -> None:
    cache.put("k", PARTS)
    linked = ObjectCache(tmp_path / "link")
    linked.folder.symlink_to(cache.folder)
    assert linked.get("k") is None
    assert linked.status().reason == f"{linked.folder}: expected a folder, got a link"


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/alula-cache", "~none/alula"])
def test_an_unusable_place_only_costs_time(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    folder = Path(place) if place.startswith("~") else tmp_path / place
    if place.startswith("/proc") and not Path("/proc").is_dir():
        pytest.skip("needs /proc, where nobody can make a folder")
    cache = ObjectCache(folder)
    cache.put("k", PARTS)
    assert cache.get("k") is None
    status = cache.status()
    assert (status.writable, status.bytes, status.entries) == (False, 0, 0)
    assert status.reason
    assert "\n" not in status.reason


@pytest.mark.parametrize("where", ["os.fsync", "os.open", "pathlib.Path.replace", "tempfile.mkstemp", "os.fstat"])
def test_a_failing_file_system_only_costs_time(cache: ObjectCache, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    cache.put("old", PARTS)
    with monkeypatch.context() as patch:
        patch.setattr(where, full)
        cache.put("k", PARTS)
        cache.get("old")
        status = cache.status()
    if where != "os.fstat":  # writing does not call it
        assert not status.writable
        assert "No space left on device" in status.reason
    assert cache.get("old") == PARTS
    cache.put("k", PARTS)
    assert cache.get("k") == PARTS
    assert cache.status().writable


def test_status_counts(cache: ObjectCache) -> None:
    assert cache.status() == CacheStatus(writable=True, reason="", bytes=0, entries=0)
    cache.put("a", {"x": bytes(1000)})
    cache.put("b", {"x": bytes(2000)})
    (cache.folder / "notes.txt").write_bytes(bytes(5000))
    status = cache.status()
    assert (status.writable, status.reason, status.entries) == (True, "", 2)
    assert 3000 < status.bytes < 3600


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path / "cache", largest_bytes=3600)
    for seconds, key in ((300, "a"), (200, "b"), (100, "c")):
        before = set(cache.folder.iterdir()) if cache.folder.exists() else set()
        cache.put(key, {"x": bytes(1000)})
        (path,) = set(cache.folder.iterdir()) - before
        age(path, seconds)
    assert cache.get("a")  # from now on b is the one used longest ago
    cache.put("d", {"x": bytes(1000)})
    assert [key for key in "abcd" if cache.get(key)] == ["a", "c", "d"]
    assert cache.status().bytes <= 3600


def test_an_entry_beyond_the_bound_is_not_kept(tmp_path: Path) -> None:
    cache = ObjectCache(tmp_path / "cache", largest_bytes=2000)
    cache.put("small", {"x": bytes(100)})
    cache.put("large", {"x": bytes(3000)})
    assert cache.get("large") is None
    assert cache.get("small")
    assert cache.status().reason.startswith("expected entries of at most 2000 bytes")


def test_what_killed_writers_left_goes_and_foreign_files_stay(cache: ObjectCache) -> None:
    cache.put("k", PARTS)
    name = entry_of(cache).name
    old, new = cache.folder / f".{name}.abc_def1", cache.folder / f".{name}.abcdefg2"
    for path in (old, new, cache.folder / "notes.txt"):
        path.write_bytes(b"x" * 100)
    age(old, 2 * module.STALE_SECONDS)
    age(cache.folder / "notes.txt", 2 * module.STALE_SECONDS)
    cache.put("j", PARTS)
    left = {path.name for path in cache.folder.iterdir()}
    assert old.name not in left
    assert {new.name, "notes.txt", name} <= left


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from alula.runtime.cache import ObjectCache
cache = ObjectCache(Path(sys.argv[2]), largest_bytes=40_000)
for i in range(60):
    key = str(i % 7)
    parts = {"x": key.encode() * 9000}
    cache.put(key, parts)
    assert cache.get(key) in (None, parts)
    assert cache.get(str((i + 3) % 7)) in (None, {"x": str((i + 3) % 7).encode() * 9000})
assert not cache._failure, cache._failure
"""


def test_processes_share_it(cache: ObjectCache) -> None:
    command = [sys.executable, "-c", WRITER, str(ROOT), str(cache.folder)]
    writers = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    for writer in writers:
        _, errors = writer.communicate(timeout=60)
        assert (writer.returncode, errors) == (0, "")
    assert cache.status().entries
    assert not [path for path in cache.folder.iterdir() if path.name.startswith(".")]


def test_keys_tell_parts_apart() -> None:
    keys = [cache_key(), cache_key(""), cache_key("", ""), cache_key("ab"), cache_key("a", "b"), cache_key("b", "a")]
    assert len(set(keys)) == len(keys)
    assert cache_key("a", "b") == keys[4]


def test_keys_change_with_the_cache_format(monkeypatch: pytest.MonkeyPatch) -> None:
    before = cache_key("a")
    monkeypatch.setattr(module, "CACHE_VERSION", module.CACHE_VERSION + 1)
    assert cache_key("a") != before


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("llvmlite.__version__", "99"),
        ("llvmlite.binding.llvm_version_info", (99, 0, 0)),
        ("alula.runtime.cache.sources_digest", lambda _: "99"),
    ],
)
def test_object_keys_change_with_every_version(monkeypatch: pytest.MonkeyPatch, name: str, value: object) -> None:
    before = object_key("program", "avx2")
    assert object_key("program", "avx2") == before
    assert object_key("program", "avx512") != before
    assert object_key("program 2", "avx2") != before
    monkeypatch.setattr(name, value)
    assert object_key("program", "avx2") != before


def test_the_digest_of_the_sources_changes_with_each_of_them(tmp_path: Path) -> None:
    digests = {sources_digest(module.PACKAGE)}
    for number, change in enumerate(("", "core/dtype.py", "codegen/new.py", "core/new.py")):
        copy = tmp_path / str(number)
        for folder in module.GENERATING:
            shutil.copytree(module.PACKAGE / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
        if change:
            (copy / change).write_text("changed = True\n")
        digests.add(sources_digest(copy))
    assert len(digests) == 4  # the unchanged copy has the digest of the original


def test_where_it_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ALULA_CACHE", str(tmp_path / "own"))
    assert default_folder() == tmp_path / "own"
    assert ObjectCache().folder == tmp_path / "own"
    monkeypatch.setenv("ALULA_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert default_folder() == tmp_path / "xdg" / "alula"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setattr(sys, "platform", "linux")
    assert default_folder() == tmp_path / "home" / ".cache" / "alula"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(sys, "platform", "darwin")
    assert default_folder() == tmp_path / "home" / "Library" / "Caches" / "alula"
