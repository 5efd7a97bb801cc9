"""`alula eval --against`: two sessions on the same pictures."""

import json
import math
from pathlib import Path
from typing import Any

import pytest

import alula
from alula.cli.main import main
from alula.core.preprocess import Preprocess
from tests.cli.fake_session import CLASSES, FakePort, FakeSession
from tests.vision.pictures import save_plain

SHIFT = (0.0, 64.0, *[0.0] * (CLASSES - 2))  # every answer becomes class 1


@pytest.fixture
def models(monkeypatch: pytest.MonkeyPatch) -> dict[str, FakeSession]:
    """What `alula.load` gives for `m.alula` and `r.alula`."""
    sessions = {"m.alula": FakeSession(precision="qint8_mixed_float32"), "r.alula": FakeSession()}
    monkeypatch.setattr(alula, "load", lambda path, threads=None: sessions[path.name], raising=False)
    return sessions


def compare(images: Path, *options: str) -> tuple[int, dict[str, Any]]:
    words = ["eval", "m.alula", "--against", "r.alula", "--image-dir", str(images), "--json", "f.json"]
    code = main([*words, *options])
    return code, json.loads(Path("f.json").read_text()) if code != 2 else {}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_flips_and_verdict(models: dict[str, FakeSession], images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    models["m.alula"].offsets = SHIFT
    code, figures = compare(images, "--batch-size", "4")
    against = figures["against"]
    assert code == 0
    assert (figures["top1"]["correct"], against["reference_top1"]["correct"]) == (5, 9)
    assert (against["lost"], against["won"], against["pictures"], against["labelled"]) == (4, 0, 10, 10)
    assert against["mcnemar_p"] == 0.125
    assert [(flip["name"], flip["before"], flip["after"], flip["kind"]) for flip in against["flips"]] == [
        ("a/0.png", 0, 1, "lost"),
        ("a/1.png", 0, 1, "lost"),
        ("a/2.png", 0, 1, "lost"),
        ("a/3.png", 0, 1, "lost"),
        ("a/4.png", 2, 1, "still wrong"),
    ]
    assert [verdict["met"] for verdict in against["mlperf"]] == [False, False]
    out = capsys.readouterr().out
    assert "agreement 50.00% (5 of 10, " in out
    assert "flips     4 lost, 0 won, 1 others" in out
    assert "change    -40.00 points" in out
    assert "McNemar's exact p = 0.125" in out
    assert "MLPerf    55.56% of the reference's top-1: 99.0% missed (too few pictures to be certain), 99.9%" in out
    assert "  still wrong a/4.png: class 2 -> class 1" in out
    assert "speed" not in out
    assert models["r.alula"].closed
    assert models["m.alula"].closed


def test_without_labels(models: dict[str, FakeSession], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for level in range(4):
        save_plain(tmp_path / f"flat/{level}.png", 20 + 10 * level)
    code, figures = compare(tmp_path / "flat")
    assert code == 0
    assert (figures["against"]["agreement"]["correct"], figures["against"]["mcnemar_p"]) == (4, None)
    out = capsys.readouterr().out
    assert "equal scores" in out
    assert "McNemar" not in out


def test_what_is_not_finite_counts_for_neither(
    models: dict[str, FakeSession], images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    models["r.alula"].offsets = (math.inf, *[0.0] * (CLASSES - 1))
    code, figures = compare(images)
    assert code == 1
    assert figures["failed"] == 10
    assert figures["against"]["pictures"] == 0
    assert "picture a/0.png: expected finite scores of r.alula" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"outputs": (FakePort("logits", FakeSession().outputs[0].dtype, (None, 4)),)},
            "expected 8 classes to compare",
        ),
        ({"preprocess": Preprocess(crop=8, resize=9)}, "expected the same preprocessing to compare"),
        ({"batch_range": (1, 2)}, "expected to take batches of 4, got 1 to 2"),
    ],
)
def test_what_cannot_be_compared(
    models: dict[str, FakeSession],
    images: Path,
    change: dict[str, Any],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    models["r.alula"] = FakeSession(**change)
    assert compare(images)[0] == 2
    assert message in capsys.readouterr().err
