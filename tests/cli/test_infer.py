import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alula.cli.main import main
from tests.cli.fake_session import CLASSES, FakePort, FakeSession
from tests.vision.pictures import save_plain

FILES = {"eval_labels.txt", "eval_result_1.txt", "eval_result_5.txt", "predictions.json"}


def infer(images: Path, out: Path, *options: str) -> int:
    return main(["infer", "m.alula", "--image-dir", str(images), "--output-dir", str(out), *options])


def test_files(session: FakeSession, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep/out"
    (images / "b/3.png").write_bytes(b"")
    assert infer(images, out) == 1
    assert {path.name for path in out.iterdir()} == FILES
    assert (out / "eval_labels.txt").read_text().splitlines() == [
        *(f"a/{i}.png 0" for i in range(5)),
        *(f"b/{i}.png 1" for i in (0, 1, 2, 4)),
    ]
    first = (out / "eval_result_1.txt").read_text().splitlines()
    five = (out / "eval_result_5.txt").read_text().splitlines()
    assert first[3:6] == ["a/3.png 0", "a/4.png 2", "b/0.png 1"]
    # Level 32 * 2 + 14 lies between the classes' centres 48, 80, 112, 144 and 16: nearest first.
    assert five[4] == "a/4.png 2 1 3 0 4"
    assert len(first) == len(five) == 9
    entries = json.loads((out / "predictions.json").read_text())
    assert len(entries) == 10
    assert entries[8] == {
        "name": "b/3.png",
        "label": 1,
        "error": "picture b/3.png: expected a picture, got an empty file",
    }
    assert entries[4]["classes"] == [2, 1, 3, 0, 4]
    scores = -np.abs(78 - 32 * np.arange(CLASSES) - 16.0)
    np.testing.assert_allclose(entries[4]["scores"], scores[[2, 1, 3, 0, 4]])
    expected = np.exp(scores) / np.exp(scores).sum()
    np.testing.assert_allclose(entries[4]["probabilities"], expected[[2, 1, 3, 0, 4]], rtol=1e-5)
    captured = capsys.readouterr()
    assert "10 listed = 9 predicted + 1 failed" in captured.out
    assert "picture b/3.png" in captured.err


def test_unlabelled_folder_with_names(session: FakeSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_plain(tmp_path / "flat/x.png", 48)
    (tmp_path / "names").write_text("".join(f"n{i:08} number {i}\n" for i in range(CLASSES)))
    assert infer(tmp_path / "flat", tmp_path / "out", "--name-file", str(tmp_path / "names")) == 0
    assert (tmp_path / "out/eval_labels.txt").read_text() == ""
    assert (tmp_path / "out/eval_result_1.txt").read_text() == "x.png 1\n"
    (entry,) = json.loads((tmp_path / "out/predictions.json").read_text())
    assert entry["names"][0] == "number 1"
    assert "label" not in entry
    assert "top-1" not in capsys.readouterr().out


def test_fewer_classes_than_five(
    load: Callable[[FakeSession], FakeSession], images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = load(FakeSession(outputs=(FakePort("y", None, (None, 2)),)))
    session.run = lambda x: (np.tile(np.float32([0.25, 0.75]), (len(x), 1)),)
    assert infer(images, tmp_path / "out") == 0
    assert (tmp_path / "out/eval_result_5.txt").read_text().splitlines()[0] == "a/0.png 1 0"
    entries = json.loads((tmp_path / "out/predictions.json").read_text())
    assert entries[0]["probabilities"] == [0.75, 0.25]  # probabilities already: no second softmax


def test_older_results_are_replaced_and_other_files_stay(session: FakeSession, images: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("mine")
    (out / "eval_labels.txt").write_text("old")
    assert infer(images, out) == 0
    assert {path.name for path in out.iterdir()} == FILES | {"mine.txt"}
    assert (out / "eval_labels.txt").read_text().startswith("a/0.png 0\n")


def test_full_disk_leaves_nothing_half_written(
    session: FakeSession,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "new/out"
    calls = []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    assert infer(images, out) == 1
    assert (
        capsys.readouterr().err
        == f"error: writing into {out}: expected a writable place, got No space left on device\n"
    )
    assert not (tmp_path / "new").exists()
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept/eval_labels.txt").write_text("old")
    calls.clear()
    assert infer(images, tmp_path / "kept") == 1
    assert [(path.name, path.read_text()) for path in (tmp_path / "kept").iterdir()] == [("eval_labels.txt", "old")]


def test_output_that_cannot_be_is_refused_before_the_work(
    session: FakeSession, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert infer(images, tmp_path / "file") == 2
    assert infer(images, tmp_path / "file/below") == 2
    assert session.batches == []
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].endswith("file: expected a folder, got a file")
    assert "expected a writable place, got" in lines[1]
