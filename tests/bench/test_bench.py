"""The harness on a toy: its statistics against figures worked out by hand, and engines that are wrong or broken."""

import os
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from alula.core.dtype import Array
from alula.core.errors import AlulaError, UsageError
from bench.__main__ import arguments, main
from bench.agreement import agreement
from bench.compare import Effort, checked, compare
from bench.engines import ENGINES, AlulaFloat16, Engine, check_installed
from bench.measure import Timing, interleaved, ratios
from bench.precision import FLOAT32, INT8
from bench.report import OURS
from bench.subject import Subject
from bench.worker import Turn, Worker

WEIGHT = np.array([[1, -2, 3], [0, 4, -1]], np.float32)


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


@pytest.mark.parametrize("name", OURS)
def test_alula_runs_the_toy_in_every_precision(toy: Subject, name: str) -> None:
    found = compare(toy, {name: ENGINES[name]}, batch=2, threads=1, effort=Effort(rounds=1, iterations=2))
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
