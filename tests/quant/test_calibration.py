"""Calibration files: read back as they were written, edited by hand, and refused for another graph."""

import json
from pathlib import Path

import numpy as np
import pytest

from alula.core.errors import UsageError
from alula.ir.graph import Graph
from alula.ops.quantize import Quantize
from alula.quant.calibrate import calibrate
from alula.quant.calibration import Calibration, graph_digest
from alula.quant.int8 import use_int8
from alula.quant.scheme import Scheme
from alula.quant.thresholds import ALGORITHMS
from tests.quant.networks import by_reference, network, normal, one_linear, pictures


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of a network."""
    calibrate(network(), [pictures(4, seed=1)], by_reference).save(tmp_path / "c.json")
    return tmp_path / "c.json"


def lowered(calibration: Calibration, **scheme: object) -> Graph:
    graph = network()
    use_int8(graph, calibration, Scheme(**scheme))
    return graph


def test_a_file_says_what_was_seen_in_lines_that_people_can_read(path: Path) -> None:
    text = path.read_text()
    content = json.loads(text)
    assert content["graph"] == graph_digest(network())
    assert content["images"] == 4
    assert list(content["activations"]) == ["input x", "1 relu", "4 layer_norm", "9 attention", "11 gelu"]
    gelu = content["activations"]["11 gelu"]
    assert set(gelu) == {f"range {name}" for name in ALGORITHMS} | {
        "by rows",
        "low",
        "high",
        "mean",
        "factors",
        "moments",
    }
    low, high = (np.divide(gelu[end], gelu["factors"]) for end in ("low", "high"))
    np.testing.assert_allclose(gelu["range linear"], [low.min(), high.max()], rtol=1e-6)
    assert len(gelu["mean"]) == 64
    assert len(text.splitlines()) == 5 + 12 * 5 + 2 + 2  # two of them have factors


def test_a_file_builds_what_the_pictures_built(path: Path) -> None:
    direct = lowered(calibrate(network(), [pictures(4, seed=1)], by_reference))
    read = lowered(Calibration.load(path))
    assert str(read) == str(direct)
    for ours, theirs in zip(read.constants(), direct.constants(), strict=True):
        assert ours.data.tobytes() == theirs.data.tobytes()
    again = Calibration.load(path)
    again.save(path.with_name("again.json"))
    assert path.with_name("again.json").read_bytes() == path.read_bytes()


def test_a_range_that_was_edited_is_taken(path: Path) -> None:
    content = json.loads(path.read_text())
    content["activations"]["11 gelu"]["range percentile"] = [0, 510]
    path.write_text(json.dumps(content))
    edited = lowered(Calibration.load(path), algorithm="percentile")
    assert Quantize(2.0, 0) in [node.op for node in edited.nodes]
    assert Quantize(2.0, 0) not in [node.op for node in lowered(Calibration.load(path)).nodes]


def test_another_graph_is_refused_and_another_batch_range_is_not(path: Path) -> None:
    calibration = Calibration.load(path)
    changed = network()
    changed.symbols, changed.name = {"N": (1, 8)}, "other"
    assert graph_digest(changed) == calibration.digest
    changed.nodes[0].inputs[1].data[0, 0, 0, 0] += 1
    with pytest.raises(
        UsageError, match=r"calibration: expected the one of graph [0-9a-f]{12}, got one of [0-9a-f]{12}"
    ):
        use_int8(changed, calibration)
    with pytest.raises(UsageError, match="another model, preprocessing or version: calibrate again"):
        use_int8(one_linear(normal(4, 8)), calibration)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.update(version=2), "expected version 1, got 2"),
        (lambda c: c.pop("graph"), "expected a graph, images and activations, got others"),
        (
            lambda c: c["activations"]["1 relu"].pop("mean"),
            "1 relu: expected by rows, high, low, mean, range entropy",
        ),
        (
            lambda c: c["activations"]["1 relu"]["mean"].pop(),
            "1 relu: expected vectors of one length, got [16, 16, 15]",
        ),
        (lambda c: c["activations"]["1 relu"].update({"by rows": 1}), "1 relu by rows: expected true or false, got 1"),
        (
            lambda c: c["activations"]["1 relu"].update(factors=[0] * 16),
            "1 relu factors: expected positive numbers, got others",
        ),
        (
            lambda c: c["activations"]["1 relu"].update(factors=[1]),
            "1 relu: expected vectors of one length, got [16, 16, 16, 1]",
        ),
        (
            lambda c: c["activations"]["1 relu"].update(moments="AAAA"),
            "1 relu moments: expected base64 of float16 for 16 channels, got others",
        ),
        (
            lambda c: c["activations"]["1 relu"].update(moments=1),
            "1 relu moments: expected base64 of float16 for 16 channels, got others",
        ),
        (lambda c: c["activations"]["1 relu"].update(mean="x"), "1 relu mean: expected finite numbers, got others"),
        (
            lambda c: c["activations"]["1 relu"].update(low=[None] * 16),
            "1 relu low: expected finite numbers, got others",
        ),
        (
            lambda c: c["activations"]["1 relu"].update({"range eqnm": [1, 2]}),
            "1 relu: expected a range of a low of at most 0",
        ),
    ],
)
def test_files_that_are_none(path: Path, change: object, message: str) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    with pytest.raises(UsageError) as caught:
        Calibration.load(path)
    assert str(caught.value).startswith(f"calibration {path}: {message}")


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a file, got No such file or directory"):
        Calibration.load(tmp_path / "none.json")
    for text, message in (("{", "expected JSON, got "), ("[]", "expected version 1, got 'list'")):
        (tmp_path / "c.json").write_text(text)
        with pytest.raises(UsageError, match=message):
            Calibration.load(tmp_path / "c.json")


def test_numbers_of_a_file_lose_nothing_that_counts(path: Path) -> None:
    exact = calibrate(network(), [pictures(4, seed=1)], by_reference).activations["11 gelu"]
    read = Calibration.load(path).activations["11 gelu"]
    np.testing.assert_allclose(read.mean, exact.mean, rtol=1e-6)
    assert read.ranges["eqnm"].high == pytest.approx(exact.ranges["eqnm"].high, rel=1e-6)
