import json
from pathlib import Path

import numpy as np
import pytest

from alula.cli.main import main
from tests.cli.fake_session import CLASSES, FakeSession
from tests.vision.pictures import save_plain


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    save_plain(tmp_path / "x.png", 3 * 32 + 15)
    (tmp_path / "names").write_text("".join(f"n{i:08} thing {i}, stuff\n" for i in range(CLASSES)))
    return tmp_path


def test_five_classes_with_bars_and_milliseconds(session: FakeSession, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["classify", "m.alula", "x.png"]) == 0
    title, *rows = capsys.readouterr().out.splitlines()
    assert title.startswith("x.png  ")
    assert " ms " in title
    assert [row.split()[-1] for row in rows] == ["3", "2", "4", "1", "5"]
    assert rows[0].endswith("class 3")
    assert "████" in rows[0]


def test_names_and_json(session: FakeSession, capsys: pytest.CaptureFixture[str], folder: Path) -> None:
    options = ["--name-file", "names", "--threads", "3", "--json", "f.json"]
    assert main(["classify", "m.alula", "x.png", "x.png", *options]) == 0
    assert capsys.readouterr().out.count("thing 3, stuff\n") == 2
    first, second = json.loads((folder / "f.json").read_text())["pictures"]
    assert first["names"][:2] == ["thing 3, stuff", "thing 2, stuff"]
    assert first["classes"] == second["classes"] == [3, 2, 4, 1, 5]
    scores = -np.abs(111 - 32 * np.arange(CLASSES) - 16.0)
    expected = np.exp(scores)[[3, 2, 4, 1, 5]] / np.exp(scores).sum()
    np.testing.assert_allclose(first["probabilities"], expected, rtol=1e-5)
    assert first["model_ms"] > 0
    assert session.threads == 3


def test_bad_pictures_are_named_and_the_others_classified(
    session: FakeSession, capsys: pytest.CaptureFixture[str], folder: Path
) -> None:
    (folder / "bad.png").touch()
    assert main(["classify", "m.alula", "bad.png", "x.png", "none.png"]) == 1
    captured = capsys.readouterr()
    assert "x.png" in captured.out
    assert captured.err.splitlines() == [
        "error: picture bad.png: expected a picture, got an empty file",
        "error: picture none.png: expected a readable picture, got No such file or directory",
    ]
