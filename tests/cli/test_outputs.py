from pathlib import Path

import pytest

from alula.cli.outputs import write_together
from alula.core.errors import AlulaError


def test_interrupt_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(path: Path, content: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("alula.cli.outputs._write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_together(tmp_path / "a/b", {"x": b"1"})
    assert list(tmp_path.iterdir()) == []


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(AlulaError, match=r"expected a writable place, got (Not a directory|File exists)"):
        write_together(tmp_path / "file/out", {"x": b"1"})
