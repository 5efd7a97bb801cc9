import json
from pathlib import Path

import pytest

from alula.cli.report import bar, json_bytes, print_table, write_json
from alula.core.errors import AlulaError


@pytest.mark.parametrize(("share", "text"), [(0, ""), (1, "█" * 24), (0.5, "█" * 12), (1 / 48, "▌"), (0.999, "█" * 24)])
def test_bar(share: float, text: str) -> None:
    assert bar(share) == text.ljust(24)


def test_json(tmp_path: Path) -> None:
    write_json(None, {"a": 1})
    write_json(tmp_path / "f.json", {"a": 1.5, "é": None})
    assert json.loads((tmp_path / "f.json").read_text()) == {"a": 1.5, "é": None}
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_bytes({"a": float("nan")})
    with pytest.raises(AlulaError, match="expected a writable place"):
        write_json(tmp_path / "none/f.json", {})


def test_table_takes_markup_as_text(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    print_table("title", ("name", "count"), [("[red]x", 12345), ("y", 6)])
    out = capsys.readouterr().out
    assert "[red]x" in out
    assert "12,345" in out


def test_numbers_stand_to_the_right_where_some_are_missing(capsys: pytest.CaptureFixture[str]) -> None:
    print_table("title", ("name", "ms", "note"), [("a", 1.5, "x"), ("b", None, None), ("c", 12345, "long")])
    lines = [line.rstrip() for line in capsys.readouterr().out.splitlines()]
    assert [line.split() for line in lines[4:7]] == [["a", "1.5", "x"], ["b", "-", "-"], ["c", "12,345", "long"]]
    ends = [line.index(word) + len(word) for line, word in zip(lines[4:7], ("1.5", "-", "12,345"), strict=True)]
    assert len(set(ends)) == 1
