import json
from pathlib import Path

import pytest

from alula.cli.main import main
from tests.artifact.models import META, tiny_graph


@pytest.fixture
def model(tmp_path: Path) -> Path:
    from alula.artifact.writer import write_model

    write_model(tmp_path / "tiny.alula", tiny_graph(), META)
    return tmp_path / "tiny.alula"


def test_files_and_figures(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep/out"
    assert main(["compile", str(model), "-o", str(out), "--json", str(tmp_path / "figures.json")]) == 0
    names = {"libtiny.so", "alula.h", "tiny.pc", "tinyConfig.cmake"}
    assert {path.name for path in out.iterdir()} == {*names, "tiny.alula"}
    assert (out / "tiny.alula").read_bytes() == model.read_bytes()
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert figures == {
        "model": "tiny.alula",
        "target": "avx2",
        "precision": "force_float32",
        "repacked": False,
        "bytes": {name: (out / name).stat().st_size for name in names},
    }
    said = capsys.readouterr().out
    assert f"{out / 'libtiny.so'}: 0.0" in said
    assert said.splitlines()[-1].startswith(f"{out / 'tiny.alula'}: ")


def test_the_folder_of_the_model_itself(model: Path) -> None:
    before = model.read_bytes()
    assert main(["compile", str(model), "-o", str(model.parent)]) == 0
    assert model.read_bytes() == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--target", "z80"], "error: target: expected one of avx2, avx512"),
        (["-o", "tiny.alula"], "error: output folder tiny.alula: expected a folder, got a file"),
        (["--json", "none/figures.json"], "error: writing none/figures.json: expected an existing folder, got none"),
    ],
)
def test_wrong_usage(
    model: Path, options: list[str], reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(model.parent)
    assert main(["compile", "tiny.alula", "-o", "out", *options]) == 2
    assert capsys.readouterr().err.startswith(reason)


def test_not_a_model_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "m.alula").write_text("none")
    assert main(["compile", str(tmp_path / "m.alula"), "-o", str(tmp_path / "out")]) == 2
    assert "expected 64 bytes, got 4" in capsys.readouterr().err
    assert not (tmp_path / "out/libm.so").exists()
