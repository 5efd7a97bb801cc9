"""The harness on a toy: its statistics against figures worked out by hand, and engines that are wrong or broken."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from alula.core.dtype import Array
from alula.core.errors import AlulaError, UsageError
from bench.__main__ import arguments, main
from bench.compare import Comparison, Effort, compare
from bench.engines import ENGINES, Engine, check_installed
from bench.measure import LARGEST_ERROR, Agreement, Timing, agreement, interleaved, ratios
from bench.report import brief, figures, markdown, write_report
from bench.subject import Subject
from bench.worker import Turn

WEIGHT = np.array([[1, -2, 3], [0, 4, -1]], np.float32)
MACHINE = {
    "processor": "Toy",
    "cores": 2,
    "target": "avx2",
    "date": "2026-01-02 03:04 UTC",
    "load_average": 0.5,
    "peak_f32_gflops": {"2": 10.0},
    "versions": {"python": "3.11"},
}


class Right(Engine):
    """The toy's product by NumPy."""

    title, package, takes = "Right", "numpy", "torch_path"
    factor: ClassVar[float] = 1.0

    def prepare(self, model: Path, shape: Sequence[int], threads: int) -> None:
        assert model.is_file()
        assert (tuple(shape), threads) == ((4, 3), 1)

    def run(self, x: Array) -> Array:
        return x @ WEIGHT.T * np.float32(self.factor)


class Wrong(Right):
    factor = 1.001  # arg-max equal, but ten times the allowed error


class Raising(Right):
    def run(self, x: Array) -> Array:
        raise ValueError("no kernel")


class Ending(Right):
    def run(self, x: Array) -> Array:
        os._exit(3)


@pytest.fixture
def toy(tmp_path: Path) -> Subject:
    import torch

    torch.set_num_threads(1)
    module = torch.nn.Linear(3, 2, bias=False).eval()
    module.load_state_dict({"weight": torch.from_numpy(WEIGHT)})
    return Subject("toy", module, (3,), tmp_path)


def test_engines_take_turns() -> None:
    order: list[tuple[str, int]] = []

    def engine(name: str) -> Callable[[int], Turn]:
        def turn(iterations: int) -> Turn:
            order.append((name, iterations))
            return Turn([1.0] * iterations, 1.0)

        return turn

    interleaved({name: engine(name) for name in "abc"}, rounds=2, iterations=5)
    assert order == [("a", 5), ("b", 5), ("c", 5), ("a", 5), ("b", 5), ("c", 5)]


def test_statistics_are_medians_of_rounds() -> None:
    slow_once = Timing.of([Turn([1, 2, 90], 93), Turn([4, 3, 5], 12), Turn([6, 6, 6], 18)])
    assert slow_once.rounds.tolist() == [2, 4, 6]
    assert slow_once.median_s == 4
    assert slow_once.cores == 1
    steady = Timing.of([Turn([4, 4, 4], 24)] * 3)
    assert (steady.median_s, steady.cores) == (4, 2)
    assert ratios(slow_once, steady).tolist() == [0.5, 1, 1.5]


def test_agreement_is_relative_to_the_largest_reference() -> None:
    reference = np.array([[1.0, -8.0], [2.0, 1.0]], np.float32)
    assert agreement(reference, reference) == Agreement(0.0, True)
    moved = reference + np.array([[0, 0.5], [0, 0]], np.float32)
    assert agreement(moved, reference) == Agreement(0.0625, True)
    assert not agreement(moved, reference).holds


@pytest.mark.parametrize(
    "output",
    [
        pytest.param(np.array([[1 + 1e-6, 1]], np.float32)[:, ::-1], id="another arg-max"),
        pytest.param(np.array([[np.nan, 1]], np.float32), id="not a number"),
        pytest.param(np.array([[1 + 1e-6, 1, 0]], np.float32), id="another shape"),
    ],
)
def test_agreement_refuses(output: Array) -> None:
    reference = np.array([[1 + 1e-6, 1]], np.float32)
    found = agreement(output, reference)
    assert not found.holds
    assert not np.isnan(found.error)  # JSON has no not-a-number


def test_a_wrong_engine_is_refused_and_never_timed(toy: Subject) -> None:
    found = compare(toy, {"right": Right, "wrong": Wrong}, batch=4, threads=1, effort=Effort(rounds=3, iterations=8))
    assert found.refused == ["wrong"]
    assert found.agreements["right"].error < 1e-6
    assert found.agreements["wrong"].same_argmax
    assert LARGEST_ERROR < found.agreements["wrong"].error < 20 * LARGEST_ERROR
    assert list(found.timings) == ["right"]
    assert found.timings["right"].seconds.shape == (3, 2)  # 8 images in batches of 4
    assert (found.timings["right"].seconds > 0).all()


@pytest.mark.parametrize(("kind", "text"), [(Raising, "ValueError('no kernel')"), (Ending, "end of its process, 3")])
def test_a_broken_engine_is_named(toy: Subject, kind: type[Engine], text: str) -> None:
    with pytest.raises(AlulaError) as caught:
        compare(toy, {"broken": kind}, batch=4, threads=1, effort=Effort(1, 1))
    assert "engine broken: expected an answer" in str(caught.value)
    assert text in str(caught.value)


def test_real_engines_run_the_toy(toy: Subject) -> None:
    engines = {name: ENGINES[name] for name in ("alula", "torch")}
    found = compare(toy, engines, batch=2, threads=1, effort=Effort(rounds=1, iterations=2))
    assert not found.refused
    assert set(found.timings) == set(engines)


def test_onnx_has_the_same_weights_and_any_batch(toy: Subject) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(toy.onnx_path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for batch in (1, 5):
        (output,) = session.run(None, {name: toy.images(batch)})
        assert agreement(output, toy.reference(batch)).holds
    assert (
        toy.onnx_path.stat().st_mtime_ns == Subject(toy.name, toy.module, (3,), toy.folder).onnx_path.stat().st_mtime_ns
    )


@pytest.fixture
def result() -> Comparison:
    result = Comparison("toy", batch=4, threads=2)
    result.agreements.update(
        {"alula": Agreement(1e-7, True), "torch": Agreement(0.0, True), "openvino": Agreement(float("inf"), False)}
    )
    result.timings.update(
        {
            "alula": Timing(np.array([[0.002], [0.002], [0.003]]), 1.9),
            "torch": Timing(np.array([[0.008], [0.004], [0.004]]), 1.5),
        }
    )
    return result


@pytest.fixture
def found(result: Comparison) -> dict[str, object]:
    return figures([result], {"toy": 1_000_000}, MACHINE)


def test_brief_says_who_was_refused(result: Comparison) -> None:
    refused = "refused: relative error inf, arg-max different"
    assert brief(result) == f"alula 2.0 ms, torch 4.0 ms, openvino {refused}"


def test_report_has_every_engine(found: dict[str, object]) -> None:
    ours, torch, openvino = found["results"]
    assert ours["median_ms"] == 2
    assert ours["images_per_s"] == 2000
    assert ours["peak_fraction"] == pytest.approx(2 * 4 * 1e6 / 0.002 / 10e9)
    assert torch["alula_ratio"] == {"median": 0.5, "min": 0.25, "max": 0.75}
    assert openvino["refused"]
    assert "median_ms" not in openvino
    lines = markdown(found).splitlines()
    assert "| 4 | 2 | PyTorch eager f32 | 4.0 | 1.0 | 1000.0 | 20% | 1.50 | 0.50 (0.25-0.75) | 0.0e+00 |" in lines
    assert "| 4 | 2 | OpenVINO f32 | refused: wrong answer | - | - | - | - | - | - |" in lines


def test_a_setting_without_its_processors_is_said_to_be_disturbed(result: Comparison) -> None:
    def page() -> str:
        return markdown(figures([result], {"toy": 1_000_000}, MACHINE))

    seconds = result.timings["alula"].seconds
    result.timings.update(alula=Timing(seconds, 0.8), torch=Timing(seconds, 1.4))
    assert "**Batch 4, 2 threads: disturbed.** No engine had more than 70% of" in page()
    result.timings.update(torch=Timing(seconds, 1.6))  # one that merely waits proves nothing: another had its threads
    assert "disturbed" not in page()


def test_report_is_written(found: dict[str, object], tmp_path: Path) -> None:
    written = write_report(found, tmp_path / "new")
    assert json.loads((tmp_path / "new" / "engines.json").read_text()) == found
    page = (tmp_path / "new" / "engines.md").read_text()
    plots = [path for path in written if path.suffix == ".svg"]
    assert all(f"]({plot.name})" in page and plot.read_text().count("PyTorch eager f32") for plot in plots)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == sorted(path.name for path in written)


def test_effort_shares_images_among_batches() -> None:
    assert [Effort(9, 8).runs(batch) for batch in (1, 3, 8, 64)] == [8, 3, 2, 2]
    assert Effort(9, 1).runs(64) == 1


def test_options() -> None:
    options = arguments(["--batches", "1,4", "--threads", "1,2", "--engines", "torch,alula"])
    assert (options.batches, options.threads, options.engines) == ([1, 4], [1, 2], ["torch", "alula"])
    assert options.models == ["volo_d2"]


@pytest.mark.parametrize("given", [["--engines", "abacus"], ["--batches", "0"], ["--models", "alexnet"]])
def test_wrong_options(given: list[str], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected"):
        main([*given, "--work", str(tmp_path), "--output", str(tmp_path)])


def test_a_missing_engine_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bench.engines.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="engine openvino: expected the package"):
        check_installed(["openvino"])
