import json
from pathlib import Path

import numpy as np
import pytest

from alula.cli.profile import RUNS, measured_steps, print_table, short_label, table, write_trace
from tests.cli.fake_session import FakeSession, FakeStep


@pytest.mark.parametrize(
    ("label", "arithmetic", "short"),
    [
        ("linear+gelu", "f32", "linear+gelu"),
        ("linear+gelu+cast", "bf16", "linear[bf16]+gelu+cast"),
        ("linear+cast+add+mul+mul+add+gelu+quantize", "int8", "linear[int8]+gelu+quantize"),
        ("linear+cast+add+mul+mul+cast", "int8", "linear[int8]+cast"),
        ("linear+cast+mul+add+add", "int8", "linear[int8]+add"),
        ("conv2d+cast+mul+add+relu+quantize", "int8", "conv2d[int8]+relu+quantize"),
        ("linear+cast+add+mul+mul+add+gelu", "f32", "linear+cast+add+mul+mul+add+gelu"),
        ("linear+relu+cast+mul+add", "int8", "linear[int8]+relu+cast+mul+add"),
    ],
)
def test_labels_leave_out_what_undoes_the_quantisation(label: str, arithmetic: str, short: str) -> None:
    assert short_label(label, arithmetic) == short


STEPS = (
    FakeStep(macs=1_000_000, bytes=100),
    FakeStep(label="relu", macs=0, bytes=2_000_000),
    FakeStep(label="linear+cast+mul+add", macs=4_000_000, arithmetic="int8", byte_macs=4_000_000, bytes=300),
    FakeStep(macs=1_000_000, bytes=100),
    FakeStep(shape="f32[N,9]", macs=1_000_000, bytes=100),
)
PEAKS = {"f32": 100.0, "int8": 400.0}


def test_table_adds_up_what_is_alike() -> None:
    seconds = np.array([0.001, 0.0005, 0.004, 0.003, 0.002])
    rows = table(STEPS, seconds, 2, PEAKS)
    assert [(row["op"], row["shape"], row["count"]) for row in rows] == [
        ("linear", "f32[N,8]", 2),
        ("linear[int8]", "f32[N,8]", 1),
        ("linear", "f32[N,9]", 1),
        ("relu", "f32[N,8]", 1),
    ]
    linear, quantised, _, relu = rows
    assert linear["ms"] == pytest.approx(4)
    assert (linear["macs"], linear["bytes"]) == (4_000_000, 400)
    assert linear["gops"] == pytest.approx(2)
    assert linear["peak_fraction"] == pytest.approx(0.02)
    assert quantised["label"] == "linear+cast+mul+add"
    assert quantised["peak_fraction"] == pytest.approx(4 / 400)  # of the peak for bytes
    assert relu["peak_fraction"] is None
    assert relu["gbps"] == pytest.approx(2 * 2e6 / 0.0005 / 1e9)
    json.dumps(rows, allow_nan=False)


def test_speed_is_of_what_is_done() -> None:
    (row,) = table((FakeStep(label="winograd", macs=4_000_000, saved=3_000_000),), np.array([0.001]), 2, PEAKS)
    assert (row["macs"], row["gops"]) == (8_000_000, pytest.approx(4))
    assert row["peak_fraction"] == pytest.approx(0.04)


def test_steps_that_took_no_time_have_no_speed() -> None:
    row = table(STEPS[:1], np.zeros(1), 1, PEAKS)[0]
    assert (row["gops"], row["gbps"], row["peak_fraction"]) == (0.0, 0.0, None)


def test_columns_stand_under_each_other(capsys: pytest.CaptureFixture[str]) -> None:
    long = FakeStep(label="linear+cast+add+mul+mul+add+gelu+quantize", arithmetic="int8", byte_macs=1_000_000)
    print_table(table((*STEPS, long), np.full(6, 0.0123), 1, PEAKS))
    lines = capsys.readouterr().out.splitlines()[1:]
    ends = {name: lines[0].index(name) + len(name) for name in ("count", "ms", "GOP/s", "of peak", "MB", "GB/s")}
    for line in lines[1:-1]:
        assert line.startswith(("linear", "relu"))
        assert line[ends["count"] - 1].isdigit()
        assert line[ends["ms"] - 4 : ends["ms"]] in (".300", ".600")
        assert line[ends["MB"] - 2] == "."
        assert line[ends["GB/s"] - 2 :][0] == "."
    assert lines[-1].split() == ["sum", "6", "73.800", "6.0"]
    assert "linear[int8]+gelu+quantize" in "\n".join(lines)


def test_a_disturbed_run_counts_for_nothing() -> None:
    class Session(FakeSession):
        turns = 0

        def profile(self, *arrays: np.ndarray) -> np.ndarray:
            self.turns += 1
            return np.array([1.0, 2.0]) * (1000 if self.turns % 5 == 0 else 1)

    session = Session(steps=STEPS[:2])
    measured = measured_steps(session, [np.zeros((1, 8, 8, 3), np.uint8)])
    assert measured.seconds.tolist() == [1.0, 2.0]
    assert measured.profiled_s == 3.0
    assert 0 < measured.plain_s < 1
    assert session.turns == len(session.batches) == RUNS


def test_trace_is_one_run(tmp_path: Path) -> None:
    write_trace(tmp_path / "t.json", STEPS[:2], np.array([0.001, 0.002]))
    first, second = json.loads((tmp_path / "t.json").read_text())["traceEvents"]
    assert (first["ts"], first["dur"], second["ts"], second["dur"]) == (0, 1000, 1000, 2000)
    assert second["args"] == {"shape": "f32[N,8]", "kernel": "gemm_0", "macs": 0, "bytes": 2_000_000}
