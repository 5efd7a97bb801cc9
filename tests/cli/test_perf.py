import json
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alula.cli import perf
from alula.cli.main import main
from alula.core.dtype import DType
from tests.cli.fake_session import FakePort, FakeSession
from tests.conftest import ROOT

Load = Callable[[FakeSession], FakeSession]
PEAK = 100.0  # GFLOP/s of all threads


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of known peak in place of this one, and no time to warm up for."""
    module = types.ModuleType("alula.runtime.host")
    module.native_target = lambda: None
    module.measure_peak = lambda target, dtype, threads=1: PEAK
    monkeypatch.setitem(sys.modules, "alula.runtime.host", module)
    monkeypatch.setattr(perf, "WARM_UP_S", 0.0)


def test_json_holds_the_contract(load: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(FakeSession(run_s=0.002, macs=2_000_000))
    options = ["--batch-size", "4", "--threads", "3", "--iterations", "20", "--json", str(tmp_path / "f.json")]
    assert main(["perf", "m.alula", *options]) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    latency = figures["latency_ms"]
    assert set(latency) == {"min", "mean", "p50", "p90", "p99", "max"}
    assert 2 <= latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"] < 200
    assert figures["throughput_ips"] == pytest.approx(4 / latency["mean"] * 1e3)
    assert figures["peak_fraction"] == pytest.approx(2 * 2e6 * 4 / (latency["p50"] / 1e3) / (PEAK * 1e9))
    expected = {"batch_size": 4, "threads": 3, "iterations": 20, "precision": "force_float32", "macs": 2_000_000}
    assert {key: figures[key] for key in expected} == expected
    assert figures["load_ms"] == 12.5
    assert figures["peak_rss_mb"] > 20
    out = capsys.readouterr().out
    assert "batch 4, 3 threads" in out
    assert "12 ms, object from the cache" in out


def test_warm_up_is_not_counted(load: Load) -> None:
    session = load(FakeSession())
    assert main(["perf", "m.alula", "--iterations", "7"]) == 0
    assert len(session.batches) >= 7 + 3
    assert set(session.batches) == {session.tuned_batch}
    assert session.closed


@pytest.mark.parametrize("dtype", [DType.F32, DType.F16, DType.BF16, DType.I64, DType.BOOL, DType.U8])
def test_inputs_of_every_kind_are_seeded(load: Load, dtype: DType) -> None:
    seen: list[np.ndarray] = []
    for _ in range(2):
        session = load(FakeSession(inputs=(FakePort("a", dtype, (None, 2)), FakePort("b", dtype, (3,)))))
        session.run = lambda *arrays: seen.append(arrays)
        assert main(["perf", "m.alula", "--iterations", "1", "--batch-size", "5"]) == 0
    first, last = seen[0], seen[-1]
    if dtype in (DType.F32, DType.U8):
        assert len(np.unique(first[0])) > 5
    assert [array.shape for array in first] == [(5, 2), (3,)]
    for one, other in zip(first, last, strict=True):
        assert one.dtype == dtype.numpy
        np.testing.assert_array_equal(one, other)


def test_precision_without_a_measured_peak(load: Load, tmp_path: Path) -> None:
    load(FakeSession(precision="qint8_mixed_float32"))
    assert main(["perf", "m.alula", "--iterations", "1", "--json", str(tmp_path / "f.json")]) == 0
    assert json.loads((tmp_path / "f.json").read_text())["peak_fraction"] is None


def test_batch_outside_the_range(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    session = load(FakeSession(batch_range=(1, 8)))
    assert main(["perf", "m.alula", "--batch-size", "9"]) == 2
    assert capsys.readouterr().err == "error: batch size: expected 1 to 8 for this model file, got 9\n"
    assert session.closed


def test_memory_is_this_process_alone() -> None:
    """A large process starts `perf`: getrusage would count the parent too."""
    ballast = np.ones(40_000_000)  # 320 MB
    code = "from alula.cli.perf import _peak_rss_mb; print(_peak_rss_mb())"
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 5 < float(child.stdout) < 100 < ballast.nbytes / 1e6


def test_perf_imports_no_more_than_it_needs() -> None:
    code = "import sys, alula.cli.main, alula.cli.perf; print(*sorted(sys.modules))"
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"rich", "PIL", "torch", "onnx", "sklearn", "matplotlib"} & set(child.stdout.split())
