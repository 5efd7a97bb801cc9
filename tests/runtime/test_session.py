"""A session's own account of its time, and models whose weights are stored in less than they are computed in."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import alula
from alula.cli.main import main
from alula.cli.profile import table, write_trace
from alula.codegen.program import StepInfo
from alula.compiler import PRECISIONS
from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.core.errors import ShapeError, UsageError
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.elementwise import Gelu
from alula.ops.matmul import Linear
from alula.ops.norm import LayerNorm

WIDTH = 320
BATCH = 70


def network() -> Graph:
    """Two linear layers with GELU between and LayerNorm after them."""
    random = np.random.default_rng(0)
    graph = Graph("test", {"N": (1, 512)})
    value = graph.input("x", TensorType(DType.F32, (symbol("N"), 50, WIDTH)))
    for _ in range(2):
        weight = random.standard_normal((WIDTH, WIDTH)).astype(np.float32) / np.float32(WIDTH**0.5)
        value = graph.add(Linear(), graph.add(Gelu(), value), graph.constant(weight))
    ones, zeros = np.ones(WIDTH, np.float32), np.zeros(WIDTH, np.float32)
    graph.output("y", graph.add(LayerNorm(1e-5), value, graph.constant(ones), graph.constant(zeros)))
    return graph


def built(path: Path, precision: str = "force_float32") -> Path:
    alula.build(network(), alula.BuildConfig(precision=precision)).save(path)
    return path


def images() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((BATCH, 50, WIDTH)).astype(np.float32)


def test_steps_take_all_of_a_run_and_the_work_most_of_it(tmp_path: Path) -> None:
    with alula.load(built(tmp_path / "m.alula")) as session:
        x = images()
        runs = np.array([session.profile(x) for _ in range(20)])
        seconds = np.median(runs, axis=0)
        labels = [step.label for step in session.steps]
    assert len(seconds) == len(labels)
    assert (seconds >= 0).all()
    assert labels[-1] == "layer_norm"
    shares = {label: seconds[n] / seconds.sum() for n, label in enumerate(labels)}
    work = sum(share for label, share in shares.items() if label.startswith("linear"))
    assert work > shares["layer_norm"]


def test_profile_gives_the_same_answer_as_run(tmp_path: Path) -> None:
    with alula.load(built(tmp_path / "m.alula")) as session:
        x = images()
        (before,) = session.run(x)
        session.profile(x)
        (after,) = session.run(x)
    np.testing.assert_array_equal(before, after)


def test_profile_refuses_what_run_refuses(tmp_path: Path) -> None:
    with (
        alula.load(built(tmp_path / "m.alula")) as session,
        pytest.raises(ShapeError, match="expected 1 arrays, got 0"),
    ):
        session.profile()


def test_profile_and_trace_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, figures, trace = built(tmp_path / "m.alula"), tmp_path / "f.json", tmp_path / "t.json"
    options = ["--iterations", "3", "--profile", "--trace", str(trace), "--json", str(figures)]
    assert main(["perf", str(path), *options]) == 0
    assert "layer_norm" in capsys.readouterr().out
    rows = json.loads(figures.read_text())["profile"]
    assert {row["op"] for row in rows} >= {"layer_norm"}
    assert sum(row["macs"] for row in rows) == 2 * 50 * WIDTH * WIDTH
    events = json.loads(trace.read_text())["traceEvents"]
    assert len(events) == sum(row["count"] for row in rows)
    assert all(a["ts"] + a["dur"] == pytest.approx(b["ts"]) for a, b in pairwise(events))


def test_table_adds_up_equal_steps_slowest_first(tmp_path: Path) -> None:
    steps = [StepInfo(label, "k", "f32[N]", macs, "f32", 0, 100) for label, macs in (("a", 10), ("b", 0), ("a", 20))]
    seconds = np.array([1e-6, 9e-6, 2e-6])
    b, a = table(steps, seconds, 2, {"f32": 0.1})
    assert (b["op"], b["count"], b["macs"], b["gops"]) == ("b", 1, 0, 0)
    assert (a["op"], a["count"], a["macs"]) == ("a", 2, 60)
    assert a["ms"] == pytest.approx(3e-3)
    assert a["gops"] == pytest.approx(0.04)
    assert a["peak_fraction"] == pytest.approx(0.4)
    write_trace(tmp_path / "t.json", steps, seconds)
    starts = [event["ts"] for event in json.loads((tmp_path / "t.json").read_text())["traceEvents"]]
    assert starts == pytest.approx([0, 1, 10])


def test_float16_halves_the_file_and_hardly_moves_the_result(tmp_path: Path) -> None:
    single, half = built(tmp_path / "single.alula"), built(tmp_path / "half.alula", "force_float16")
    weights = 2 * WIDTH * WIDTH * 4
    assert single.stat().st_size - half.stat().st_size == pytest.approx(weights / 2, abs=512)
    with alula.load(single) as full, alula.load(half) as stored:
        x = images()
        (expected,), (result,) = full.run(x), stored.run(x)
        assert stored.precision == "force_float16"
    error = np.abs(result - expected).max() / np.abs(expected).max()
    assert 1e-6 < error < 2e-3  # float16 has 11 bits; no error at all would mean that nothing was rounded


def test_an_unknown_precision_is_refused() -> None:
    with pytest.raises(UsageError, match=f"precision: expected one of {', '.join(PRECISIONS)}, got 'qint8'"):
        alula.build(network(), alula.BuildConfig(precision="qint8"))


def test_a_session_says_what_it_takes(tmp_path: Path) -> None:
    """Its memory for a batch grows with it; reading and preparing are part of loading."""
    with alula.load(built(tmp_path / "m.alula"), threads=2) as session:
        one, many = (session.workspace_bytes(batch) for batch in (1, BATCH))
        assert 2 * session.scratch_bytes + session.arena_bytes <= one < many
        assert session.constant_bytes >= 4 * (2 * WIDTH * WIDTH + 2 * WIDTH)
        assert min(session.read_ms, session.prepare_ms) > 0
        assert session.read_ms + session.prepare_ms < session.load_ms
