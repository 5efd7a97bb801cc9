"""The thread benchmark on a toy: what it measures, and that nothing of it is left behind."""

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

import alula
from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.core.errors import AlulaError, UsageError
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.softmax import Softmax
from bench import sharing, threads
from bench.threads import Figure

two_processors = pytest.mark.usefixtures("two_processors")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    graph = Graph("toy", {"N": (1, 8)})
    x = graph.input("x", TensorType(DType.F32, (symbol("N"), 64, 256)))
    graph.output("y", graph.add(Softmax(2), x))
    alula.build(graph).save(tmp_path / "toy.alula")
    return tmp_path / "toy.alula"


def test_bars_hold_on_either_side() -> None:
    assert Figure("m", "speed-up", 1.85, 1.85, least=True).kept
    assert not Figure("m", "speed-up", 1.84, 1.85, least=True).kept
    assert Figure("m", "busy", 1.4, 1.4).kept
    assert Figure("m", "busy", 1.41, 1.4).cells == ("m", "busy", "1.41", "<= 1.4", "NO")
    assert Figure("m", "ms", 1e9).kept
    assert Figure("m", "ms", 5.0).cells == ("m", "ms", "5", "", "")


def state_comes(pid: int, wanted: str) -> bool:
    """True once the process is running (R) or stopped (T)."""
    for _ in range(500):
        if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == wanted:
            return True
        time.sleep(0.01)
    return False


def test_a_busy_loop_works_only_when_let_on() -> None:
    processor = max(os.sched_getaffinity(0))
    with threads.busy_loop(processor) as process:
        assert state_comes(process.pid, "T")
        process.send_signal(signal.SIGCONT)
        assert state_comes(process.pid, "R")
    assert process.returncode == -signal.SIGKILL


@two_processors
def test_scaling(path: Path) -> None:
    allowed = os.sched_getaffinity(0)
    figures = {figure.name: figure for figure in threads.scaling(path, rounds=2, iterations=2)}
    assert all(figure.got > 0 and figure.model == "toy.alula" for figure in figures.values())
    assert figures["speed-up of 2 threads"].least
    assert figures["2 threads beside a busy loop / 1 thread"].bar == 1.4
    assert os.sched_getaffinity(0) == allowed


@two_processors
def test_barrier(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "BARRIER_RUNS", 20)
    assert 0 < threads.barrier().got < 1000


def test_a_rate_is_images_over_time(path: Path) -> None:
    class Slow:
        runs = 0

        def run(self, x: object) -> None:
            self.runs += 1

    session = Slow()
    found = sharing.rate(session, [np.zeros((4, 1))], 0.05)
    assert found == pytest.approx(4 * session.runs / 0.05, rel=0.5)
    assert sharing.rate(session, [np.zeros((4, 1))], 0) > 0  # one run at least


@two_processors
def test_every_way_to_share_is_measured(path: Path) -> None:
    found = sharing.throughputs(path, (1, 2), rounds=2, seconds=0.02)
    assert list(found) == [
        sharing.way_name(what, count) for count in (1, 2) for what in ("one session", "two sessions", "two processes")
    ]
    assert all(len(rates) == 2 and min(rates) > 0 for rates in found.values())


def test_names() -> None:
    assert sharing.way_name("one session", 1) == "one session, 1 thread"
    assert sharing.way_name("two sessions", 2) == "two sessions, 2 threads each"


def test_a_process_that_cannot_load_is_said(tmp_path: Path) -> None:
    (tmp_path / "bad.alula").write_bytes(b"not a model")
    with pytest.raises(AlulaError, match="expected an answer, got the end of it"):
        sharing.Partner(tmp_path / "bad.alula", (1,))


@two_processors
def test_the_command_says_which_bars_are_missed(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, missed = Figure("m", "kept", 1.0, 2.0), Figure("m", "missed", 3.0, 2.0)
    monkeypatch.setattr(threads, "barrier", lambda: kept)
    monkeypatch.setattr(threads, "scaling", lambda path, rounds, iterations: [missed])
    monkeypatch.setattr(threads, "sharing", lambda path, rounds: [])
    assert threads.main([str(path), "--json", str(tmp_path / "t.json")]) == 1
    found = json.loads((tmp_path / "t.json").read_text())["results"]
    assert [(row["name"], row["kept"]) for row in found] == [("kept", True), ("missed", False)]
    assert "NO" in capsys.readouterr().out


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a file, got none"):
        threads.main([str(tmp_path / "none.alula")])
