import json
import sys
import types
from pathlib import Path

import pytest

from alula.cli import doctor
from alula.cli.main import main
from alula.core.errors import CodegenError
from alula.core.target import AVX2

PEAKS = {"f32": 123.4, "bf16": 246.8, "int8": 493.6}


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("alula.runtime.host")
    module.native_target = lambda: AVX2
    module.default_threads = lambda: (3, "3 of 8 processors by affinity")
    module.measure_peak = lambda target, dtype, threads=1: PEAKS[dtype]
    module.processor_name = lambda: "Some Processor 9000"
    monkeypatch.setitem(sys.modules, "alula.runtime.host", module)
    monkeypatch.setenv("COLUMNS", "200")


def test_findings(capsys: pytest.CaptureFixture[str], tmp_path: Path, own_cache: Path) -> None:
    assert main(["doctor", "--json", str(tmp_path / "f.json")]) == 0
    out = capsys.readouterr().out
    for text in ("Some Processor 9000", "avx2", "3 (3 of 8 processors by affinity)", "writable"):
        assert text in out
    assert "123 GFLOP/s in f32, 247 GFLOP/s in bf16, 494 GOP/s in int8 a thread" in out
    findings = json.loads((tmp_path / "f.json").read_text())
    assert findings["peak_per_thread"] == PEAKS
    assert findings["cache"]["folder"] == str(own_cache)
    assert findings["cache"]["writable"] is True
    assert findings["versions"]["numpy"][0].isdigit()


def test_a_refused_peak_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(target: object, dtype: str, threads: int = 1) -> float:
        if dtype == "int8":
            raise CodegenError("peak: expected the tile registers")
        return 1.0

    monkeypatch.setattr(sys.modules["alula.runtime.host"], "measure_peak", refused)
    assert main(["doctor", "--json", str(tmp_path / "f.json")]) == 0
    assert "1 GFLOP/s in bf16, int8 refused by the system" in capsys.readouterr().out
    assert json.loads((tmp_path / "f.json").read_text())["peak_per_thread"]["int8"] is None


def test_unusable_cache_is_said(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ALULA_CACHE", str(tmp_path / "file"))
    assert main(["doctor"]) == 0
    assert "no use, every load generates its code anew" in capsys.readouterr().out


def test_missing_extras(monkeypatch: pytest.MonkeyPatch) -> None:
    present = {"torch", "onnx", "sklearn", "matplotlib", "onnxruntime", "openvino", "nncf", "transformers"}
    monkeypatch.setattr(doctor, "find_spec", lambda name: name if name in present else None)
    assert doctor.missing_extras() == {"onnx": ["onnxscript"]}
