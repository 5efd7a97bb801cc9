import json
from pathlib import Path

import pytest

from alula.cli.main import main
from alula.runtime import summary as module

SUMMARY = {
    "target": "avx2",
    "macs": 14_300_000_000,
    "shape_mutable": True,
    "batch_range": [1, 512],
    "preprocess": {"crop": 224, "mean": [0.485, 0.456, 0.406]},
    "inputs": [{"name": "image", "dtype": "u8", "shape": [None, 224, 224, 3]}],
    "ops": [{"op": "conv2d", "precision": "f32", "bytes": 37632}, {"op": "[bold]gemm", "kernel": "f32_6x4"}],
}


@pytest.fixture
def summary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "summary", lambda path, sizes: SUMMARY | {"sizes": sizes})
    monkeypatch.setenv("COLUMNS", "120")


@pytest.mark.usefixtures("summary")
def test_everything_in_the_summary_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "m.alula"]) == 0
    out = capsys.readouterr().out
    shown = ("m.alula", "14,300,000,000", "yes", "1, 512", "0.485, 0.456, 0.406", "-, 224, 224, 3", "f32_6x4")
    for text in (*shown, "preprocess", "inputs", "ops", "[bold]gemm", "37,632"):
        assert text in out


@pytest.mark.usefixtures("summary")
def test_json_is_the_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", "m.alula", "--json", str(tmp_path / "f.json")]) == 0
    assert json.loads((tmp_path / "f.json").read_text()) == SUMMARY | {"sizes": {}}
