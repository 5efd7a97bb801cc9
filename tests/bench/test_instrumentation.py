"""The benchmark of what being measured costs, on a toy: that its bare program really is one without stamps."""

import json
from pathlib import Path

import numpy as np
import pytest

import alula
from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.softmax import Softmax
from bench import instrumentation

two_processors = pytest.mark.usefixtures("two_processors")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    graph = Graph("toy", {"N": (1, 8)})
    x = graph.input("x", TensorType(DType.F32, (symbol("N"), 64, 256)))
    graph.output("y", graph.add(Softmax(2), x))
    alula.build(graph).save(tmp_path / "toy.alula")
    return tmp_path / "toy.alula"


def test_the_bare_program_answers_and_takes_no_stamps(path: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((2, 64, 256)).astype(np.float32)
    with instrumentation.bare_session(path, 1, tmp_path / "cache") as bare, alula.load(path, 1) as plain:
        np.testing.assert_array_equal(bare.run(x)[0], plain.run(x)[0])
        assert plain.profile(x).sum() > 0
        assert bare.profile(x).sum() == 0  # nobody wrote to the room that a profile gives


@two_processors
def test_rows_and_bar(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(instrumentation, "MOST", 1e9)
    options = ["--rounds", "3", "--runs", "2", "--threads", "1", "--json", str(tmp_path / "f.json")]
    assert instrumentation.main([str(path), *options]) == 0
    rows = json.loads((tmp_path / "f.json").read_text())["results"]
    assert [row["way"] for row in rows] == ["bare", "plain", "streams"]
    assert rows[0]["ratio"] == 1
    assert all(row["ms"] > 0 for row in rows)


def test_what_is_slower_is_not_kept() -> None:
    bare = 1 + 0.001 * np.random.default_rng(0).standard_normal(60)
    assert not instrumentation._row(Path("m"), "plain", 1.03 * bare, bare)["kept"]
    assert instrumentation._row(Path("m"), "plain", 1.002 * bare, bare)["kept"]
