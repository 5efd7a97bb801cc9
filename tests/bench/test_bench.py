"""The harness on a toy: its statistics against figures worked out by hand, and engines that are wrong or broken."""

import json
import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from alula.compiler import PRECISIONS as PRECISIONS_BUILT
from alula.core.dtype import Array
from alula.core.errors import AlulaError, UsageError
from bench.__main__ import arguments, main
from bench.agreement import Agreement, agreement
from bench.compare import Comparison, Effort, checked, compare
from bench.engines import ENGINES, AlulaFloat16, Engine, check_installed
from bench.measure import Timing, interleaved, ratios
from bench.page import markdown
from bench.precision import BFLOAT16, FLOAT32, INT8, PRECISIONS
from bench.report import OURS, brief, figures, write_report
from bench.subject import Subject
from bench.worker import Turn, Worker

WEIGHT = np.array([[1, -2, 3], [0, 4, -1]], np.float32)
MACHINE = {
    "processor": "Toy",
    "cores": 2,
    "target": "avx2",
    "date": "2026-01-02 03:04 UTC",
    "load_average": 0.5,
    "peak_gflops": {"f32": {"2": 10.0}},
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


class WrongInInt8(Wrong):
    precision = INT8  # where a thousandth is nothing


class Mixing(Right):
    """Answers each batch with its images in another order."""

    precision = INT8

    def run(self, x: Array) -> Array:
        return super().run(np.ascontiguousarray(x[::-1]))


class Sizes(Right):
    """Answers with the size of the batch."""

    def prepare(self, model: Path, shape: Sequence[int], threads: int) -> None:
        pass

    def run(self, x: Array) -> Array:
        return np.full((len(x), 1), len(x), np.float32)


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


def test_a_wrong_engine_is_refused_and_never_timed(toy: Subject) -> None:
    found = compare(toy, {"right": Right, "wrong": Wrong}, batch=4, threads=1, effort=Effort(rounds=3, iterations=8))
    assert found.refused == ["wrong"]
    assert found.agreements["right"].error < 1e-6
    assert found.agreements["wrong"].same_argmax == 1
    assert 1 < found.agreements["wrong"].error / FLOAT32.largest_error < 20
    assert list(found.timings) == ["right"]
    assert found.timings["right"].seconds.shape == (3, 2)  # 8 images in batches of 4
    assert (found.timings["right"].seconds > 0).all()


def test_every_precision_has_a_bound_of_its_own(toy: Subject) -> None:
    engines = {"right": Right, "int8": WrongInInt8, "mixing": Mixing}
    found = compare(toy, engines, batch=4, threads=1, effort=Effort(rounds=1, iterations=1))
    assert found.refused == ["mixing"]
    assert found.agreements["mixing"].cosine < 0


@pytest.mark.parametrize(("batch", "images"), [(1, 8), (3, 9), (8, 8), (20, 20)])
def test_answers_to_several_images_come_in_batches_of_the_timed_size(toy: Subject, batch: int, images: int) -> None:
    assert checked(batch) == images
    with closing(Worker("sizes", Sizes, toy.torch_path, toy.images(batch), threads=1)) as worker:
        assert worker.output(toy.images(images)).tolist() == [[batch]] * images


@pytest.mark.parametrize(("kind", "text"), [(Raising, "ValueError('no kernel')"), (Ending, "end of its process, 3")])
def test_a_broken_engine_is_named(toy: Subject, kind: type[Engine], text: str) -> None:
    with pytest.raises(AlulaError) as caught:
        compare(toy, {"broken": kind}, batch=4, threads=1, effort=Effort(1, 1))
    assert "engine broken: expected an answer" in str(caught.value)
    assert text in str(caught.value)


def test_real_engines_run_the_toy(toy: Subject) -> None:
    engines = {name: ENGINES[name] for name in ("alula", "torch", "torch-bf16")}
    found = compare(toy, engines, batch=2, threads=1, effort=Effort(rounds=1, iterations=2))
    assert 0 < found.agreements["torch-bf16"].error > FLOAT32.largest_error  # it did round
    assert not found.refused
    assert set(found.timings) == set(engines)


@pytest.mark.parametrize("name", OURS.values())
def test_alula_runs_the_toy_in_every_precision(toy: Subject, name: str) -> None:
    kind = ENGINES[name]
    if kind.precision.mode not in PRECISIONS_BUILT:
        pytest.skip(f"this Alula does not build {kind.precision.mode} yet")
    found = compare(toy, {name: kind}, batch=2, threads=1, effort=Effort(rounds=1, iterations=2))
    assert found.agreements[name].holds


def test_a_file_of_another_precision_is_not_measured(toy: Subject) -> None:
    with pytest.raises(UsageError, match="expected a model file in force_float16, got force_float32"):
        AlulaFloat16().prepare(toy.alula_path, (1, 3), threads=1)


def test_onnx_has_the_same_weights_and_any_batch(toy: Subject) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(toy.onnx_path, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for batch in (1, 5):
        (output,) = session.run(None, {name: toy.images(batch)})
        assert agreement(output, toy.reference(batch), FLOAT32).holds
    assert (
        toy.onnx_path.stat().st_mtime_ns == Subject(toy.name, toy.module, (3,), toy.folder).onnx_path.stat().st_mtime_ns
    )


@pytest.fixture
def result() -> Comparison:
    result = Comparison("toy", batch=4, threads=2)
    result.agreements.update(
        {
            "alula": Agreement(FLOAT32, 1e-7, 1.0, 1.0),
            "torch": Agreement(FLOAT32, 0.0, 1.0, 1.0),
            "openvino": Agreement(FLOAT32, float("inf"), 0.0, 0.0),
            "alula-int8": Agreement(INT8, 0.03, 0.9, 0.75),
            "openvino-int8": Agreement(INT8, 0.02, 0.9, 1.0),
            "openvino-int8-f32": Agreement(INT8, 0.02, 0.9, 1.0),
            "torch-bf16": Agreement(BFLOAT16, 0.01, 0.95, 1.0),
        }
    )
    result.timings.update(
        {
            "alula": Timing(np.array([[0.002], [0.002], [0.003]]), 1.9),
            "torch": Timing(np.array([[0.008], [0.004], [0.004]]), 1.5),
            "alula-int8": Timing(np.array([[0.001], [0.002], [0.001]]), 1.9),
            "openvino-int8": Timing(np.array([[0.005], [0.005], [0.001]]), 1.9),
            "openvino-int8-f32": Timing(np.array([[0.004], [0.004], [0.004]]), 1.9),
            "torch-bf16": Timing(np.array([[0.001], [0.001], [0.001]]), 1.9),
        }
    )
    return result


@pytest.fixture
def found(result: Comparison) -> dict[str, object]:
    return figures([result], {"toy": 1_000_000}, MACHINE)


def test_brief_says_who_was_refused(result: Comparison) -> None:
    refused = "refused: relative error inf, cosine 0.000, arg-max equal for 0%"
    assert brief(result).startswith(f"alula 2.0 ms, torch 4.0 ms, openvino {refused}, alula-int8 1.0 ms, ")


def test_report_has_every_engine(found: dict[str, object]) -> None:
    ours, torch, openvino, *_ = found["results"]
    assert ours["median_ms"] == 2
    assert ours["images_per_s"] == 2000
    assert ours["peak_fraction"] == pytest.approx(2 * 4 * 1e6 / 0.002 / 10e9)
    assert torch["alula_ratio"] == {"median": 0.5, "min": 0.25, "max": 0.75}
    assert openvino["refused"]
    assert "median_ms" not in openvino
    lines = markdown(found).splitlines()
    start = "| 4 | 2 | PyTorch eager f32 | 4.0 | 1.0 | 1000.0 | 20% | 1.50 | 0.50 (0.25-0.75) |"
    assert f"{start} 0.0e+00 | 1.000 | 100% |" in lines
    assert "| 4 | 2 | OpenVINO f32 | refused: wrong answer | - | - | - | - | - | - | 0.000 | 0% |" in lines


def test_alula_is_compared_with_the_best_of_its_precision(found: dict[str, object]) -> None:
    float32, int8 = found["against_best"]
    assert (float32["precision"], float32["best"]) == ("float32", "torch")  # not the faster one in bfloat16
    assert (int8["precision"], int8["best"]) == ("int8", "openvino-int8-f32")  # by its median, not its best round
    assert int8["alula_ratio"] == {"median": 0.25, "min": 0.25, "max": 0.5}
    assert "| int8 | 4 | 2 | 0.2 | 1.0 | OpenVINO int8, rest f32 | 0.25 (0.25-0.50) |" in markdown(found).splitlines()


def test_the_page_has_a_table_for_each_precision(found: dict[str, object]) -> None:
    parts = markdown(found).split("\n### ")[1:]
    assert [part.split("\n")[0] for part in parts] == ["float32", "bfloat16", "int8"]
    assert [part.count("\n| 4 | 2 |") for part in parts] == [3, 1, 3]


def test_there_is_one_alula_for_each_precision_and_others_to_compare_it_with() -> None:
    assert list(OURS) == list(PRECISIONS)
    others = {kind.precision.name for name, kind in ENGINES.items() if name not in OURS.values()}
    assert others == set(PRECISIONS) - {"float16"}


def test_a_setting_without_its_processors_is_said_to_be_disturbed(result: Comparison) -> None:
    def page() -> str:
        return markdown(figures([result], {"toy": 1_000_000}, MACHINE))

    seconds = result.timings["alula"].seconds
    for name in list(result.agreements)[3:]:
        del result.agreements[name], result.timings[name]
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
