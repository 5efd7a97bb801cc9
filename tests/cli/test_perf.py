import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from alula.cli import perf
from alula.cli.main import main
from alula.cli.streams import Limits
from alula.compiler import PRECISIONS
from alula.core.dtype import DType
from alula.runtime import host as host_module
from tests.cli.fake_session import FakePort, FakeSession, FakeStep
from tests.conftest import ROOT

Load = Callable[[FakeSession], FakeSession]
PEAKS = {"f32": 100.0, "bf16": 200.0, "int8": 400.0}  # G operations a second of all threads


@pytest.fixture(autouse=True)
def host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of known peak in place of this one, and no time to warm up for."""
    monkeypatch.setattr(host_module, "measure_peak", lambda target, dtype, threads: PEAKS[dtype])
    monkeypatch.setattr(perf, "WARM_UP", Limits(perf.WARM_UP.iterations))


def test_json_holds_the_contract(load: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(FakeSession(run_s=0.002, macs=2_000_000))
    options = ["--batch-size", "4", "--threads", "3", "--iterations", "20", "--json", str(tmp_path / "f.json")]
    assert main(["perf", "m.alula", *options]) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    latency = figures["latency_ms"]
    assert set(latency) == {"min", "mean", "p50", "p90", "p95", "p99", "max"}
    assert 2 <= latency["min"] <= latency["p50"] <= latency["p90"] <= latency["p99"] <= latency["max"] < 200
    assert figures["throughput_ips"] == pytest.approx(4 / latency["mean"] * 1e3)
    assert figures["peak_fraction"] == pytest.approx(2 * 2e6 * 4 / (latency["p50"] / 1e3) / 100e9)
    expected = {"batch_size": 4, "threads": 3, "iterations": 20, "precision": "force_float32", "macs": 2_000_000}
    assert {key: figures[key] for key in expected} == expected
    assert figures["load_ms"] == 12.5
    assert figures["peak_rss_mb"] > 20
    out = capsys.readouterr().out
    assert "m.alula, force_float32 on avx2, batch 4\n" in out
    assert "threads     3 (as asked)\n" in out
    assert f"{figures['peak_fraction']:.0%} of peak (GOP/s: f32 100)" in out
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


def test_peak_of_a_mix_is_that_of_each_part(load: Load, tmp_path: Path) -> None:
    steps = (
        FakeStep(macs=4_000_000, saved=3_000_000),
        FakeStep(macs=3_000_000, arithmetic="bf16", byte_macs=1_000_000),
        FakeStep(macs=8_000_000, arithmetic="int8", byte_macs=8_000_000),
        FakeStep(label="layer_norm", macs=0),
    )
    load(FakeSession(precision="qint8_mixed_bfloat16", steps=steps))
    assert main(["perf", "m.alula", "--iterations", "1", "--batch-size", "3", "--json", str(tmp_path / "f.json")]) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["peaks"] == PEAKS
    assert figures["ideal_ms"] == pytest.approx(3 * 2 * (1 / 100 + 2 / 200 + 9 / 400))
    assert figures["peak_fraction"] == pytest.approx(figures["ideal_ms"] / figures["latency_ms"]["p50"])


def test_only_the_peaks_in_use_are_measured(load: Load, tmp_path: Path) -> None:
    load(FakeSession(steps=(FakeStep(label="relu", macs=0),)))
    assert main(["perf", "m.alula", "--iterations", "1", "--json", str(tmp_path / "f.json")]) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    assert (figures["peaks"], figures["peak_fraction"]) == ({}, None)


def test_profile_says_what_it_cost(load: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(FakeSession(run_s=0.001, steps=(FakeStep(), FakeStep(label="relu", macs=0))))
    options = [
        "--profile",
        "--iterations",
        "1",
        "--trace",
        str(tmp_path / "t.json"),
        "--json",
        str(tmp_path / "f.json"),
    ]
    assert main(["perf", "m.alula", *options]) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    assert sorted(row["op"] for row in figures["profile"]) == ["linear", "relu"]
    assert figures["plain_ms"] >= 1
    profiled, plain = figures["profiled_ms"], figures["plain_ms"]
    last = f"profiled runs {profiled:.2f} ms, those between them {plain:.2f} ms ({profiled / plain - 1:+.1%})\n"
    assert capsys.readouterr().out.endswith(last)
    assert len(json.loads((tmp_path / "t.json").read_text())["traceEvents"]) == 2


def test_noise_and_runs_are_in_the_json(load: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(FakeSession(run_s=0.001))
    assert main(["perf", "m.alula", "--iterations", "20", "--json", str(tmp_path / "f.json")]) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    assert len(figures["runs_ms"]) == 20
    assert np.median(figures["runs_ms"]) == figures["latency_ms"]["p50"]
    noise = figures["noise"]
    assert 1 <= noise["p50_low_ms"] <= figures["latency_ms"]["p50"] <= noise["p50_high_ms"]
    low, high = noise["p50_low_ms"], noise["p50_high_ms"]
    assert f"noise       median {low:.2f} to {high:.2f} ms with 95 % confidence" in capsys.readouterr().out


def test_duration_goes_on_after_the_iterations(load: Load, tmp_path: Path) -> None:
    load(FakeSession(run_s=0.005))
    options = ["--iterations", "2", "--duration", "0.1", "--json", str(tmp_path / "f.json")]
    assert main(["perf", "m.alula", *options]) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    assert 2 < figures["iterations"] <= 20
    assert sum(figures["runs_ms"]) >= 100


def test_streams_share_the_threads_and_each_does_the_iterations(load: Load, tmp_path: Path) -> None:
    load(FakeSession(run_s=0.005))
    options = ["--threads", "4", "--streams", "2", "--iterations", "8", "--json", str(tmp_path / "f.json")]
    assert main(["perf", "m.alula", *options]) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    assert (figures["streams"], figures["threads"], figures["iterations"]) == (2, 4, 16)
    alone = 4 * 16 / sum(figures["runs_ms"]) * 1e3  # images a second, had the runs come one after the other
    assert 1.2 * alone < figures["throughput_ips"] < 2.01 * alone


def test_single_stream_is_one_image_after_the_other(
    load: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    session = load(FakeSession(run_s=0.001))
    options = ["--scenario", "SingleStream", "--iterations", "5", "--json", str(tmp_path / "f.json")]
    assert main(["perf", "m.alula", *options]) == 0
    assert set(session.batches) == {1}
    p90 = json.loads((tmp_path / "f.json").read_text())["latency_ms"]["p90"]
    assert f"scenario    SingleStream: 90th percentile latency {p90:.3f} ms\n" in capsys.readouterr().out


@pytest.mark.parametrize(("option", "name"), [("--batch-size", "batch size"), ("--streams", "streams")])
def test_single_stream_takes_one_image_at_a_time(option: str, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perf", "m.alula", "--scenario", "SingleStream", option, "2"]) == 2
    expected = f"error: {name}: expected 1 in scenario SingleStream, a query being one image, got 2\n"
    assert capsys.readouterr().err == expected


def test_offline_is_one_query_for_all_streams(load: Load, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(FakeSession(run_s=0.002))
    options = ["--scenario", "Offline", "--streams", "2", "--iterations", "9", "--json", str(tmp_path / "f.json")]
    assert main(["perf", "m.alula", *options]) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    assert figures["iterations"] == 9
    assert f"Offline: {figures['throughput_ips']:.2f} samples/s, a query of 36 samples" in capsys.readouterr().out


def test_a_profile_is_of_one_stream(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perf", "m.alula", "--streams", "2", "--profile"]) == 2
    assert capsys.readouterr().err == "error: --streams: expected 1 to profile a run, got 2\n"


@pytest.mark.parametrize("text", ["-1", "inf", "nan", "long"])
def test_duration_is_a_number_of_seconds(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["perf", "m.alula", f"--duration={text}"]) == 2
    assert f"argument --duration: expected a number of seconds, got '{text}'" in capsys.readouterr().err


def test_main_arithmetic_of_every_precision() -> None:
    assert set(perf.PEAK_DTYPE) == set(PRECISIONS)
    assert set(perf.PEAK_DTYPE.values()) <= set(PEAKS)


def test_batch_outside_the_range(load: Load, capsys: pytest.CaptureFixture[str]) -> None:
    session = load(FakeSession(batch_range=(1, 8)))
    assert main(["perf", "m.alula", "--batch-size", "9"]) == 2
    assert capsys.readouterr().err == "error: batch size: expected 1 to 8 for this model file, got 9\n"
    assert session.closed


def test_memory_is_this_process_alone() -> None:
    """A large process starts `perf`: getrusage would count the parent too."""
    ballast = np.ones(40_000_000)  # 320 MB
    code = "from alula.cli.usage import peak_rss_mb; print(peak_rss_mb())"
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert 5 < float(child.stdout) < 100 < ballast.nbytes / 1e6


def test_perf_imports_no_more_than_it_needs() -> None:
    code = "import sys, alula.cli.main, alula.cli.perf; print(*sorted(sys.modules))"
    child = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"rich", "PIL", "torch", "onnx", "sklearn", "matplotlib"} & set(child.stdout.split())
