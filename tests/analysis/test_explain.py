"""`alula explain` of the small classifier: every product, why it is what it is, and planted faults first."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import alula
from alula.cli.main import main
from alula.quant.products import labelled_products
from alula.quant.ranges import node_name
from tests.analysis.models import pictures, read, shrink_scale, zero_largest_channel


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")


def explain(file: Path, *options: object) -> dict[str, Any]:
    assert main(["explain", str(file), *map(str, options), "--json", "e.json"]) == 0
    return json.loads(Path("e.json").read_text())


def test_every_product(plain_file: Path, byte_file: Path, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = explain(byte_file, "--reference", plain_file, "--image-dir", images)
    rows = {row["label"]: row for row in figures["ops"]}
    assert sorted(rows) == sorted(labelled_products(read(byte_file)[0]))
    assert sum(row["output_share"] for row in figures["ops"]) == pytest.approx(1)
    assert [row["output_share"] for row in figures["ops"]] == sorted(
        (r["output_share"] for r in figures["ops"]), reverse=True
    )
    for row in figures["ops"]:
        assert row["precision"] == "int8"
        assert not row["departs"]
        assert row["ms"] > 0
        assert row["float_ms"] > 0
        assert 20 < row["snr_db"] < 70
    assert sum(row["ms"] for row in figures["ops"]) <= figures["ms"]
    why = {label.split()[1]: row["why"] for label, row in rows.items()}
    assert why["stem.1"] == "pixels are bytes"
    assert why["blocks.0.fc1"] == "a scale for each row, found at run time"
    assert why["blocks.0.fc2"].startswith("one scale, ")
    assert "departs" not in capsys.readouterr().out


@pytest.mark.parametrize("plant", [shrink_scale, zero_largest_channel])
def test_a_damaged_layer_comes_first(
    source: Path, byte_file: Path, images: Path, plant: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    label = next(label for label in labelled_products(read(byte_file)[0]) if "blocks.1.fc1" in label)
    damaged = plant(byte_file, label, Path("damaged.alula"))
    figures = explain(damaged, "--reference", source, "--image-dir", images, "--image-num", 2)
    assert figures["ops"][0]["label"] == label
    assert [row["departs"] for row in figures["ops"]] == [True] + [False] * 6
    assert f"departs: {label}" in capsys.readouterr().out


def test_without_the_float_model(byte_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figures = explain(byte_file)
    assert all(row["snr_db"] is None and row["float_ms"] is None and row["ms"] > 0 for row in figures["ops"])
    assert "errors and float milliseconds take the float model" in capsys.readouterr().out
    assert main(["explain", str(byte_file), "--image-dir", "."]) == 2


def test_reasons_are_kept_in_the_file(source: Path) -> None:
    graph = alula.from_torch(source)
    config = alula.BuildConfig(precision="qint8_mixed_float32", preprocess=graph.preprocess)
    final = alula.build(graph.copied()[0], alula.BuildConfig(preprocess=graph.preprocess)).graph
    names = {label.split()[1]: node_name(final, node) for label, node in labelled_products(final).items()}
    scheme = alula.Scheme(float_nodes={names["blocks.0.fc2"]: "slower in int8"})
    alula.build(graph, replace(config, scheme=scheme), [pictures(8)]).save("m.alula")
    _, meta = read(Path("m.alula"))
    assert [(label.split()[1], why) for label, why in meta.kept.items()] == [("blocks.0.fc2", "slower in int8")]
    row = next(row for row in explain(Path("m.alula"))["ops"] if "blocks.0.fc2" in row["label"])
    assert (row["precision"], row["why"]) == ("f32", "slower in int8")


def test_why_without_calibration(source: Path) -> None:
    graph = alula.from_torch(source)
    alula.build(graph, alula.BuildConfig("qint8_mixed_float32", graph.preprocess)).save("m.alula")
    why = {row["label"].split()[1]: row["why"] for row in explain(Path("m.alula"))["ops"]}
    assert why["down.1"] == "no range of its operand is known: built without calibration"
    assert why["blocks.0.fc2"] == "a scale for each row, found at run time"
