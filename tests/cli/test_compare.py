"""`alula build --precision all`, with models that are not there and with a small one that is."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import alula
from alula.cli import build, compare
from alula.cli.compare import mode_file, recommended
from alula.cli.main import main
from alula.cli.options import PRECISIONS
from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.core.errors import UsageError
from alula.core.preprocess import Preprocess
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.conv import Conv2d
from alula.ops.elementwise import Relu
from alula.ops.matmul import Linear
from alula.ops.reduce import ReduceMean
from alula.ops.shape import Transpose
from tests.cli.fake_session import CONTRACT, FakeSession

WORDS = ["build", "m.pt2", "-o", "m.alula", "--precision", "all", "--json", "f.json"]


def classifier_graph() -> Graph:
    """A small trained-looking classifier of 8 x 8 pictures: two convolutions, a mean, a linear layer."""
    random = np.random.default_rng(3)
    graph = Graph("small", {"N": (1, 512)})
    graph.preprocess = CONTRACT
    x = graph.input("x", TensorType(DType.F32, (symbol("N"), 3, 8, 8)))
    x = graph.add(Transpose(perm=(0, 2, 3, 1)), x)
    for channels in (3, 16):
        weight = graph.constant(random.normal(0, 0.3, (16, 3, 3, channels)).astype(np.float32))
        x = graph.add(Relu(), graph.add(Conv2d(pad=(1, 1, 1, 1)), x, weight))
    x = graph.add(ReduceMean(axes=(1, 2), keepdims=False), x)
    graph.output("logits", graph.add(Linear(), x, graph.constant(random.normal(0, 1, (8, 16)).astype(np.float32))))
    return graph


WARM_AND_TIMED = 2


@dataclass
class Modes:
    """Stands in for the compiler: sessions by precision, what was built with what, and which cannot be."""

    sessions: dict[str, FakeSession]
    refused: tuple[str, ...] = ()
    built: list[tuple[str, bool]] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    graphs: list[Graph] = field(default_factory=list)
    calibrated: int = 0

    def build(self, graph: Graph, config: alula.BuildConfig, calibration: Any = None) -> "Modes":
        if config.precision in self.refused:
            raise UsageError(f"{config.precision}: expected another weight")
        self.graphs.append(graph)
        self.built.append((config.precision, calibration is not None))
        return self

    def calibrate(self, graph: Graph, config: alula.BuildConfig, inputs: Any) -> alula.Calibration:
        self.calibrated += 1
        return alula.Calibration("0" * 64, sum(len(array) for array in inputs))

    def save(self, path: Path) -> None:
        path.write_bytes(b"x" * 1_000_000 * (1 + len(self.built)))

    def load(self, path: Path, threads: int | None = None) -> FakeSession:
        return self.sessions[path.suffixes[-2][1:]]


@pytest.fixture
def modes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Modes:
    """Every mode takes 1 ms and agrees."""
    stand_in = Modes({precision: FakeSession(run_s=0.001) for precision in PRECISIONS})
    for precision, session in stand_in.sessions.items():
        run = session.run
        session.run = lambda *arrays, run=run, precision=precision: (stand_in.order.append(precision), run(*arrays))[1]
    monkeypatch.setattr(alula, "from_torch", lambda path, dim_range: classifier_graph(), raising=False)
    monkeypatch.setattr(alula, "build", stand_in.build, raising=False)
    monkeypatch.setattr(alula, "calibrate", stand_in.calibrate, raising=False)
    monkeypatch.setattr(alula, "load", stand_in.load, raising=False)
    monkeypatch.setattr(build, "check_source", lambda path: None)
    monkeypatch.setattr(compare, "ROUNDS", 3)
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.chdir(tmp_path)
    return stand_in


def figures() -> dict[str, Any]:
    return json.loads(Path("f.json").read_text())


def test_every_mode_is_built_from_one_import(modes: Modes, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(WORDS) == 0
    assert [name for name, _ in modes.built] == list(PRECISIONS)
    assert len(set(map(id, modes.graphs))) == len(PRECISIONS)
    assert all(str(graph) == str(classifier_graph()) for graph in modes.graphs)
    assert sorted(path.name for path in Path().glob("*.alula")) == sorted(f"m.{name}.alula" for name in PRECISIONS)
    rows = figures()["precisions"]
    assert [row["bytes"] for row in rows] == [1_000_000 * n for n in range(2, 8)]
    assert all(row["ms"] >= 1 and row["build_ms"] > 0 and row["agreement"] is None for row in rows)
    out, error = capsys.readouterr()
    assert "how far its answers agree with force_float32's takes pictures: --eval-dir DIR\n" in out
    assert error.startswith("note: activations get a scale for each row")
    assert all(session.closed for session in modes.sessions.values())


def test_the_modes_take_turns(modes: Modes) -> None:
    assert main(WORDS) == 0
    turn = [name for precision in PRECISIONS for name in [precision] * WARM_AND_TIMED]
    assert modes.order == turn * 3


def test_agreement_decides_and_then_speed(modes: Modes, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    modes.sessions["qint8_mixed_float32"].run_s = 0.0
    modes.sessions["qint8_mixed_float32"].offsets = (0.0, 64.0, *[0.0] * 6)  # class 0 becomes 1
    modes.sessions["qint8_mixed_bfloat16"].run_s = 0.0002
    modes.sessions["qint8_mixed_bfloat16"].offsets = (0.0, 1.0, *[0.0] * 6)
    assert main([*WORDS, "--eval-dir", "images"]) == 0
    found = {row["precision"]: row for row in figures()["precisions"]}
    assert found["force_float32"]["agreement"] == 1.0
    assert found["force_float32"]["max_difference"] == 0.0
    assert found["qint8_mixed_float32"]["agreement"] == 0.5  # the five of class 1
    assert found["qint8_mixed_bfloat16"]["agreement"] == 1.0
    assert 0 < found["qint8_mixed_bfloat16"]["max_difference"] < 0.01
    assert found["qint8_mixed_float32"]["ms"] == min(row["ms"] for row in found.values())
    assert figures()["recommended"] == "qint8_mixed_bfloat16"
    out = capsys.readouterr().out
    rule = "the fastest that gives force_float32's class for at least 99% of 10 pictures"
    assert out.splitlines()[-1] == f"recommended: qint8_mixed_bfloat16, {rule}"
    assert all(name in out for name in PRECISIONS)


@pytest.mark.usefixtures("images")
def test_calibration_is_done_once_for_int8_alone_and_serves_the_comparison(
    modes: Modes, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*WORDS, "--calibration-dir", "images", "--calibration-num", "5"]) == 0
    assert modes.calibrated == 1
    warning = "warning: 5 of 10 evaluation pictures are calibration pictures too: agreement on them flatters\n"
    assert capsys.readouterr().err == warning
    assert [name for name, calibrated in modes.built if calibrated] == list(PRECISIONS[3:])
    assert figures()["calibration"]["used"] == 5
    assert figures()["pictures"] == 10
    assert main([*WORDS, "--calibration-dir", "images", "--eval-num", "3"]) == 0
    assert figures()["pictures"] == 3


def test_pictures_of_another_folder_are_known_by_their_content(
    modes: Modes, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = images.with_name("other")
    other.mkdir()
    for number, path in enumerate(sorted(images.rglob("*.png"))[:6]):
        (other / f"{number}.png").write_bytes(path.read_bytes() if number < 2 else path.read_bytes() + b"+")
    assert main([*WORDS, "--calibration-dir", "images", "--eval-dir", "other"]) == 0
    assert "warning: 2 of 6 evaluation pictures are calibration pictures too" in capsys.readouterr().err
    for path in (other / "0.png", other / "1.png"):
        path.write_bytes(path.read_bytes() + b"+")
    assert main([*WORDS, "--calibration-dir", "images", "--eval-dir", "other"]) == 0
    assert capsys.readouterr().err == ""


def test_a_mode_that_cannot_be_is_named_and_the_rest_compared(
    modes: Modes, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    modes.refused = ("force_float16",)
    assert main([*WORDS, "--eval-dir", "images"]) == 1
    row = figures()["precisions"][1]
    assert (row["error"], row["output"], row["ms"]) == ("force_float16: expected another weight", None, None)
    assert [row["agreement"] for row in figures()["precisions"]] == [1.0, None, 1.0, 1.0, 1.0, 1.0]
    assert capsys.readouterr().err.endswith("error: force_float16: expected another weight\n")
    modes.refused = ("force_float32",)
    assert main([*WORDS, "--eval-dir", "images"]) == 2


def test_a_picture_that_cannot_be_read_is_named(modes: Modes, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (images / "b/3.png").write_bytes(b"")
    assert main([*WORDS, "--eval-dir", "images"]) == 1
    assert figures()["pictures"] == 9
    assert figures()["failures"][0]["name"] == "b/3.png"
    assert "error: picture b/3.png: expected a picture, got an empty file\n" in capsys.readouterr().err


def test_scores_that_are_not_numbers_agree_with_nothing(modes: Modes, images: Path) -> None:
    modes.sessions["force_float16"].offsets = (float("nan"), *[0.0] * 7)
    assert main([*WORDS, "--eval-dir", "images"]) == 0
    row = figures()["precisions"][1]
    assert (row["agreement"], row["max_difference"]) == (0.0, None)


def test_names_of_files() -> None:
    assert mode_file(Path("a/b.c.alula"), "force_float16") == Path("a/b.c.force_float16.alula")
    assert mode_file(Path("b"), "force_float16") == Path("b.force_float16")


@pytest.mark.parametrize(
    ("shares", "name"), [((1.0, 0.995, 0.98), "b"), ((1.0, 0.98, 0.98), "a"), ((None, None, None), None)]
)
def test_rule_of_the_recommendation(shares: tuple[float | None, ...], name: str | None) -> None:
    rows = [
        {"precision": mode, "ms": ms, "agreement": share}
        for mode, ms, share in zip("abc", (3.0, 2.0, 1.0), shares, strict=True)
    ]
    assert recommended(rows) == name


def test_a_real_model(
    monkeypatch: pytest.MonkeyPatch, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(alula, "from_torch", lambda path, dim_range: classifier_graph(), raising=False)
    monkeypatch.setattr(build, "check_source", lambda path: None)
    monkeypatch.chdir(tmp_path)
    assert main([*WORDS, "--calibration-dir", "images"]) == 0
    rows = {row["precision"]: row for row in figures()["precisions"]}
    assert rows["force_float32"]["agreement"] == rows["force_float16"]["agreement"] == 1.0
    assert 0 < rows["force_float16"]["max_difference"] < 0.01
    assert 0 < rows["qint8_mixed_float32"]["max_difference"] < 0.1
    assert rows["qint8_mixed_float32"]["bytes"] < rows["force_float32"]["bytes"]
    assert figures()["recommended"] in PRECISIONS
    assert len(capsys.readouterr().out.splitlines()) > len(PRECISIONS)


def test_a_model_without_a_contract_is_timed(modes: Modes, monkeypatch: pytest.MonkeyPatch, images: Path) -> None:
    def plain(path: Path, dim_range: object) -> Graph:
        graph = classifier_graph()
        graph.preprocess = None
        return graph

    monkeypatch.setattr(alula, "from_torch", plain, raising=False)
    assert main(WORDS) == 0
    assert main([*WORDS, "--eval-dir", "images"]) == 2
    assert main([*WORDS, "--eval-dir", "images", "--preprocess", "own.json"]) == 2
    Path("own.json").write_text(json.dumps(Preprocess(crop=8, resize=8).to_json()))
    assert main([*WORDS, "--eval-dir", "images", "--preprocess", "own.json"]) == 0
