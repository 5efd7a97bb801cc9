import json
import sys
import types
from pathlib import Path

import pytest

from alula.cli import doctor
from alula.cli.main import main
from alula.core.target import AVX2


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("alula.runtime.host")
    module.native_target = lambda: AVX2
    module.default_threads = lambda: (3, "3 of 8 processors by affinity")
    module.measure_peak = lambda target, dtype, threads=1: 123.4
    module.processor_name = lambda: "Some Processor 9000"
    monkeypatch.setitem(sys.modules, "alula.runtime.host", module)
    monkeypatch.setenv("COLUMNS", "200")


def test_findings(capsys: pytest.CaptureFixture[str], tmp_path: Path, own_cache: Path) -> None:
    assert main(["doctor", "--json", str(tmp_path / "f.json")]) == 0
    out = capsys.readouterr().out
    for text in ("Some Processor 9000", "avx2", "3 (3 of 8 processors by affinity)", "123 GFLOP/s in f32", "writable"):
        assert text in out
    findings = json.loads((tmp_path / "f.json").read_text())
    assert findings["peak_per_thread"] == {"f32": 123.4}
    assert findings["cache"]["folder"] == str(own_cache)
    assert findings["cache"]["writable"] is True
    assert findings["versions"]["numpy"][0].isdigit()


def test_unusable_cache_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ALULA_CACHE", str(tmp_path / "file"))
    assert main(["doctor"]) == 0
    assert "no use, every load generates its code anew" in capsys.readouterr().out


def test_missing_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    present = {"torch", "onnx", "sklearn", "matplotlib", "onnxruntime", "openvino"}
    monkeypatch.setattr(doctor, "find_spec", lambda name: name if name in present else None)
    assert doctor.missing_extras() == {"onnx": ["onnxscript"]}
