import io
import sys

import pytest

from alula.cli import progress as module
from alula.cli.progress import progress, stage


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(module, "REDRAW_S", 0)
    with progress("images", 4) as shown:
        shown.advance()
        shown.advance(2)
    text = terminal.getvalue()
    assert "images ██████ " in text
    assert "1/4" in text
    assert "3/4" in text
    assert text.endswith("\r\x1b[K")


def test_silent_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    with progress("images", 4) as shown, stage("building"):
        shown.advance(4)
    assert capsys.readouterr() == ("", "")
