"""Search for a mix that keeps a budget: on made-up drops, and by `alula build --max-drop` on the small classifier."""

import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from alula.analysis.budget import Search, ranked, reasons, slower
from alula.analysis.mixes import Mixes
from alula.analysis.sensitivity import Sensitivity
from alula.analysis.timing import Times
from alula.cli.budget import Searched
from alula.cli.main import main
from tests.analysis.models import read, write_pictures


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def searched(drops: list[float], budget: float, most: int = 1000) -> tuple[int, Search]:
    """The number found where so many products in float drop so much, and after how many mixes time is up."""
    order = [f"p{number}" for number in range(len(drops) - 1)]

    def drop(labels: list[str]) -> float:
        assert labels == order[: len(labels)]
        return drops[len(labels)]

    search = Search(order, budget, drop, lambda: len(search.tried) >= most)
    return search.run(), search


@pytest.mark.parametrize("least", range(18))
def test_the_least_number_is_found_by_halving(least: int) -> None:
    number, search = searched([1.0] * least + [0.0] * (18 - least), 0.3)
    assert number == least
    assert len(search.tried) <= 10


def test_nothing_keeps_the_budget() -> None:
    assert searched([0.9, 0.5, 0.4, 0.6, 0.45], 0.3)[0] in (2, 4)
    assert searched([0.9], 0.3)[0] == 0


def test_time_is_up() -> None:
    drops = [1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.2, 0.1, 0.0]
    assert searched(drops, 0.3, most=3)[0] == 2
    assert searched(drops, 0.3, most=5)[0] == 8
    assert sorted(searched(drops, 0.3, most=5)[1].tried) == [0, 1, 2, 4, 8]
    assert searched(drops, 0.3)[0] == 7


def test_small_ones_go_back_to_bytes_where_a_large_one_was_too_much() -> None:
    noise = {"a": 0.05, "b": 0.2, "c": 0.1, "d": 0.5}
    found = {label: Sensitivity(label, output_noise=size) for label, size in noise.items()}

    def drop(floats: list[str]) -> float:
        return sum(size for label, size in noise.items() if label not in floats)

    kept, points = Search(list(noise), 0.3, drop, lambda: False, {4: 0.0}).thinned(found)
    assert (kept, points) == (["b", "d"], pytest.approx(0.15))
    assert Search(list(noise), 0.3, drop, lambda: True, {4: 0.0}).thinned(found) == (list(noise), 0.0)


def test_ranking_and_reasons() -> None:
    bytes_, floats = Times({"a": 1.0, "b": 1.0, "c": 2.1}, 4.1), Times({"a": 2.0, "b": 5.0, "c": 2.0, "d": 1.0}, 10.0)
    found = [Sensitivity(label, output_noise=noise) for label, noise in (("a", 2.0), ("b", 4.0), ("c", 1e-9), ("d", 0))]
    assert slower(bytes_, floats) == {"c": "slower in int8: 2.100 ms against 2.000 ms"}
    assert ranked(found, bytes_, floats) == ["a", "b", "c"]
    by_label = {one.label: one for one in found}
    assert reasons(["b"], by_label) == {"b": "in bytes it would make 66.7% of the output error"}


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    write_pictures(tmp_path / "cal", 12)
    write_pictures(tmp_path / "val/a", 30, seed=200)
    write_pictures(tmp_path / "val/b", 30, seed=300)
    return ["--calibration-dir", "cal", "--eval-dir", "val"]


def build(source: Path, words: list[str]) -> tuple[int, dict[str, Any]]:
    everything = [
        "build",
        str(source),
        "-o",
        "m.alula",
        "--precision",
        "qint8_mixed_float32",
        "--json",
        "b.json",
        *words,
    ]
    code = main(everything)
    return code, json.loads(Path("b.json").read_text()) if code != 2 else {}


def test_a_budget_that_is_kept(source: Path, folders: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    code, figures = build(source, [*folders, "--max-drop", "50", "--time", "1m"])
    budget = figures["budget"]
    assert (code, budget["met"], budget["measure"]) == (0, True, "top-1")
    assert (budget["searched"], budget["held_out"]["pictures"], budget["products"]) == (30, 30, 7)
    assert [mix["in_float"] for mix in budget["tried"]] == [0]
    assert read(Path("m.alula"))[1].kept == budget["kept"]
    assert all(reason.startswith("slower in int8") for reason in budget["kept"].values())
    out, error = capsys.readouterr()
    assert "verdict   the budget is met" in out
    assert error.startswith("tried     0 in float: ")


@pytest.mark.parametrize(("flips", "points"), [(1, 0.01), (5, 100 * (5 - 5**0.5) / 100)])
def test_flips_count_where_they_are_more_than_chance(
    flips: int, points: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pictures near the border alone move: what is expected of their moves anywhere is a hundredth of the count."""
    one = Searched.__new__(Searched)
    one.labels = np.zeros(100, np.int64)
    one.reference = np.tile(np.float32([10, 0]), (100, 1))
    one.reference[:flips, 0] = 0.1
    moved = one.reference.copy()
    moved[:flips, 0] = -0.1
    monkeypatch.setattr("alula.cli.budget.open_classifier", lambda path, batch: nullcontext())
    monkeypatch.setattr(Searched, "_scores", lambda self, classifier: moved)
    assert one.drop(Path("m.alula")) == pytest.approx(points)


def test_a_budget_that_cannot_be_kept(
    source: Path, folders: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mixes that seem to drop until four products are in float; then one that does, on pictures not seen."""
    monkeypatch.setattr(Searched, "drop", lambda self, path: 9.0 if len(read(path)[1].kept) < 4 else 0.0)
    monkeypatch.setattr("alula.cli.budget.slower", lambda bytes_, floats: {})
    built = Mixes.built
    monkeypatch.setattr(Mixes, "floats", lambda self: other_head(built(self, self.all_float())))
    write_pictures(Path("val/a"), 90, seed=200)
    code, figures = build(source, [*folders, "--max-drop", "1"])
    budget = figures["budget"]
    assert len(budget["kept"]) == 4
    assert all("of the output error" in reason for reason in budget["kept"].values())
    assert (code, budget["met"]) == (1, False)
    over = budget["held_out_drop"] - 1
    assert over > 0
    assert f"verdict   the budget is missed by {over:.2f} points" in capsys.readouterr().out


def other_head(model: Any) -> Any:
    """A model that gives the first class to every picture, as the labels of three quarters of them say."""
    node = next(node for node in model.graph.nodes if node.origin.startswith("head "))
    bias = node.inputs[2]
    bias.data = np.where(np.arange(10) == 0, 99, 0).astype(np.float32)
    return model


def test_without_labels_disagreement_counts(source: Path, tmp_path: Path) -> None:
    write_pictures(tmp_path / "flat", 36, seed=400)
    code, figures = build(source, ["--calibration-dir", "flat", "--eval-dir", "flat", "--max-drop", "100"])
    budget = figures["budget"]
    assert (code, budget["measure"], budget["held_out"]["top1"]) == (0, "disagreement", None)
    assert budget["held_out_drop"] == pytest.approx(100 * (1 - budget["held_out"]["agreement"]["accuracy"]))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--max-drop", "1"], "--max-drop: expected --eval-dir"),
        (["--max-drop", "-1", "--eval-dir", "val"], "expected points of 0 to 100"),
        (["--max-drop", "1", "--eval-dir", "val", "--time", "5"], "expected a time like 90s"),
        (["--time", "5m"], "--time: expected --max-drop"),
        (["--label-file", "l.txt"], "--label-file: expected --max-drop"),
        (["--max-drop", "1", "--eval-dir", "val", "--eval-num", "9"], "expected at least 30 pictures, got 9"),
        (["--max-drop", "1", "--eval-dir", "val", "--measure"], "--measure: expected a qint8 precision without"),
    ],
)
@pytest.mark.usefixtures("folders")
def test_refusals(source: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert build(source, ["--calibration-dir", "cal", *words])[0] == 2
    assert message in capsys.readouterr().err


def test_measure_leaves_in_float_what_is_slower(
    source: Path, folders: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def one(bytes_: Times, floats: Times) -> dict[str, str]:
        label = next(label for label in floats.ms if "blocks.1.fc1" in label)
        return {label: "slower in int8"}

    monkeypatch.setattr("alula.analysis.budget.slower", one)
    assert build(source, ["--calibration-dir", "cal", "--measure"])[0] == 0
    graph, meta = read(Path("m.alula"))
    (label,) = meta.kept
    assert "blocks.1.fc1" in label
    dtypes = {
        node.origin.split()[0]: node.outputs[0].type.dtype.value for node in graph.nodes if node.op.name == "linear"
    }
    assert (dtypes["blocks.1.fc1"], dtypes["blocks.0.fc1"]) == ("f32", "i32")
