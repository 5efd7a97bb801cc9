import errno
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from alula.cli import main as module
from alula.cli.main import COMMANDS, main
from alula.core.errors import AlulaError, ImageError
from alula.core.files import atomic_write
from tests.conftest import ROOT


def alula(*words: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "alula", *words]
    return subprocess.run(command, cwd=ROOT, text=True, stderr=subprocess.PIPE, timeout=60, check=False, **options)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    out = capsys.readouterr().out
    assert all(f"    {command} " in out.replace("\n", " \n") for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"usage: alula {command}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["fly"], "invalid choice: 'fly'"),
        (["perf"], "the following arguments are required: M.alula"),
        (["perf", "m", "--threads", "none"], "argument --threads: expected a whole number of at least 1, got 'none'"),
        (["--wrong"], "unrecognized arguments: --wrong"),
    ],
)
def test_wrong_usage(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: alula")
    assert message in captured.err
    assert captured.err.count("\n") == 1


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"alula {stated}\n"


def test_no_command_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert capsys.readouterr().err.startswith("usage: alula")


def full_disk(path: Path) -> None:
    with atomic_write(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("raised", "code", "text"),
    [
        (ImageError("picture a:\n  broken"), 2, "error: picture a: broken\n"),
        (AlulaError("model: expected a, got b"), 2, "error: model: expected a, got b\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (
            FileNotFoundError(2, "No such file", "x"),
            2,
            "error: file x: expected to read or write it, got No such file\n",
        ),
        (OSError(errno.ENOSPC, "full"), 1, "error: file: expected to read or write it, got full\n"),
        (MemoryError(), 1, "error: memory: expected enough for this model and batch, got no more\n"),
    ],
)
def test_errors_are_one_line(
    raised: BaseException, code: int, text: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(words: list[str]) -> int:
        raise raised

    monkeypatch.setattr(module, "_run", fail)
    assert main(["doctor"]) == code
    assert capsys.readouterr().err == text


def test_full_disk_is_failed_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_run", lambda words: full_disk(tmp_path / "x"))
    assert main(["doctor"]) == 1
    assert list(tmp_path.iterdir()) == []


def test_output_that_nobody_can_take() -> None:
    with Path("/dev/full").open("w") as full:
        done = alula("--help", stdout=full)
    assert done.returncode == 1
    assert done.stderr == "error: file: expected to read or write it, got No space left on device\n"


def test_output_that_nobody_reads() -> None:
    read, write = os.pipe()
    os.close(read)
    done = alula("--help", stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


def test_only_the_command_asked_for_is_imported() -> None:
    code = "import sys; from alula.cli.main import main; main(['perf', 'x', '--threads', '0']); print(*sys.modules)"
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    modules = child.stdout.split()
    assert "alula.cli.perf" in modules
    assert "alula.cli.eval" not in modules
