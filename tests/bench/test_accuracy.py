"""The accuracy report: counts worked out by hand, bars at their edges, and files that hold all that they show."""

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alula.core.errors import UsageError
from alula.core.preprocess import Preprocess
from alula.vision.metrics import Accuracy
from bench.accuracy import __main__ as command
from bench.accuracy.answers import Answers, _by_batches
from bench.accuracy.bars import BARS, Bar, verdicts
from bench.accuracy.measured import compared, label_of, right
from bench.accuracy.pictures import Pictures, zipped
from bench.accuracy.questions import QUESTIONS, pictures
from bench.accuracy.subjects import SUBJECTS

LABELS = np.array([0, 1, 2, 0, 1, 2])
EXPECTED = np.eye(8, dtype=np.float32)[[0, 1, 2, 0, 2, 0]]  # four right
GOT = np.eye(8, dtype=np.float32)[[0, 1, 1, 0, 1, 7]]  # the third is lost, the fifth won, the sixth still wrong


def rows(calibration: tuple[int, int] | None = (64, 0)) -> list[dict]:
    return [
        compared(Answers("alula", "force_float32", EXPECTED), EXPECTED, LABELS),
        compared(Answers("alula", "qint8_mixed_float32", GOT, calibration, 0.97), EXPECTED, LABELS),
        compared(Answers("alula", "qint8_mixed_float32", EXPECTED, (64, 1), 0.97), EXPECTED, LABELS),
        compared(Answers("onnxruntime-int8-static", "", GOT, (64, 0)), EXPECTED, LABELS),
    ]


def model(name: str = "volo_cifar10") -> dict:
    layers = [
        {"op": "linear a", "snr_db": None, "output_share": 0.25},
        {"op": "b", "snr_db": 3.0, "output_share": 0.75},
    ]
    machine = {"versions": {"torch": "1"}, "date": "today", "processor": "<a chip>", "target": "avx2"}
    reference = {"engine": "PyTorch eager f32", **right(EXPECTED, LABELS)}
    return {
        "name": name,
        "title": f"Model {name}",
        "machine": machine,
        "pictures": 6,
        "reference": reference,
        "rows": rows(),
        "layers": {"force_float16": layers},
    }


def test_what_became_of_each_answer():
    row = rows()[1]
    assert row["flips"] == {"lost": 1, "won": 1, "still wrong": 1}
    assert (row["top1"]["correct"], row["top5"]["correct"], row["top1"]["total"]) == (4, 6, 6)
    assert row["agreement"]["correct"] == 3
    assert row["difference"] == 0
    assert row["mcnemar_p"] == 1
    assert row["snr_db"] == pytest.approx(10 * np.log10(6 / 6))
    assert [label_of(row) for row in rows()] == [
        "Alula force_float32",
        "Alula qint8_mixed_float32, 64 pictures, draw 0",
        "Alula qint8_mixed_float32, 64 pictures, draw 1",
        "ONNX Runtime int8 static, 64 pictures, draw 0",
    ]


def edge(agree: float = 0.99, difference: float = 0.0, p: float = 0.01, correct: int = 500, snr: float = 20.0) -> dict:
    return {
        "engine": "alula",
        "title": "Alula int8",
        "mode": "qint8_mixed_float32",
        "calibration": None,
        "agreement": {"accuracy": agree},
        "difference": difference,
        "mcnemar_p": p,
        "top1": {"correct": correct},
        "snr_db": snr,
    }


@pytest.mark.parametrize(
    ("bar", "good", "bad"),
    [
        (Bar("m", ("qint8",), agree=0.985), edge(agree=0.985), edge(agree=0.9849)),
        (Bar("m", ("qint8",), drop=0.0015), edge(difference=-0.0015), edge(difference=-0.0016)),
        (Bar("m", ("qint8",), drop=0.0015), edge(difference=-0.5, p=0.051), edge(difference=-0.5, p=0.05)),
        (Bar("m", ("qint8",), right=500), edge(correct=500), edge(correct=499)),
        (Bar("m", ("qint8",), best_other=True), edge(agree=0.91, snr=11), edge(agree=0.9, snr=11)),
        (Bar("m", ("qint8",), best_other=True), edge(agree=0.91, snr=11), edge(agree=0.91, snr=10)),
    ],
)
def test_bars_at_their_edges(bar, good, bad):
    others = [edge(agree=0.9, snr=10.0)]
    assert bar.held(good, others)
    assert not bar.held(bad, others)


def test_bars_are_for_models_that_there_are_and_for_alula_alone():
    assert {bar.subject for bar in BARS} == set(SUBJECTS)
    assert [(verdict["row"], verdict["held"]) for verdict in verdicts([model()])] == [
        ("Alula force_float32", True),
        ("Alula qint8_mixed_float32, 64 pictures, draw 0", False),
        ("Alula qint8_mixed_float32, 64 pictures, draw 1", True),
    ]


def test_the_last_batch_is_filled_up():
    pixels, sizes = np.arange(5, dtype=np.uint8).reshape(5, 1), []

    def run(part):
        sizes.append(len(part))
        return part.astype(np.float32) * 2

    assert _by_batches(run, pixels, 2).ravel().tolist() == [0, 2, 4, 6, 8]
    assert sizes == [2, 2, 2]


def test_drawn_pictures_are_others_for_another_seed():
    held = Pictures(np.arange(100, dtype=np.uint8).reshape(100, 1, 1, 1), np.arange(100))
    first, again, other = held.drawn(10, 0), held.drawn(10, 0), held.drawn(10, 1)
    assert np.array_equal(first, again)
    assert len(set(first.ravel())) == 10
    assert set(first.ravel()) != set(other.ravel())
    assert held.every(30).labels.tolist() == [0, 30, 60, 90]


def test_zipped_pictures_come_as_listed(tmp_path):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        for name, level in (("a.png", 10), ("b.png", 20)):
            Image.new("RGB", (5, 5), (level, 0, 0)).save(tmp_path / name)
            archive.write(tmp_path / name, name)
        archive.writestr("labels.txt", "b.png 7\na.png 3\n")
    found = zipped(tmp_path / "p.zip", Preprocess(crop=4, resize=0))
    assert found.labels.tolist() == [7, 3]
    assert found.pixels.shape == (2, 4, 4, 3)
    assert found.pixels[:, 0, 0, 0].tolist() == [20, 10]


def test_files_hold_what_they_show_and_stay_for_other_models(tmp_path):
    pytest.importorskip("matplotlib", reason="needs matplotlib, the report extra")
    (tmp_path / "accuracy.json").write_text(json.dumps({"models": [model()]}))
    models = command.known(tmp_path / "accuracy.json")
    command.write({**models, "deit_tiny": model("deit_tiny")}, tmp_path)
    found = json.loads((tmp_path / "accuracy.json").read_text())
    assert [model["name"] for model in found["models"]] == ["volo_cifar10", "deit_tiny"]
    report = (tmp_path / "report.html").read_text()
    assert report.count("<img ") == report.count("data:image/svg+xml;base64,") == len(QUESTIONS)
    assert not re.search(r"""(src|href)=["'](?!data:)""", report)
    assert "&lt;a chip&gt;" in report
    page = (tmp_path / "README.md").read_text()
    assert all((tmp_path / name).is_file() for name in re.findall(r"\]\((.+?)\)", page))
    assert "| force_float16 | b | 3.0 | 75% |" in page
    assert "| 66.67% (4) | 100.00% (6) | +0.00 | 50.00% (3) | 1 | 1 | 1 | 1 | 0.0 | 97.0% |" in page


def test_pictures_are_the_same_for_the_same_figures():
    pytest.importorskip("matplotlib", reason="needs matplotlib, the report extra")
    assert pictures([model()]) == pictures([model()])
    without = {**model(), "layers": {}}
    assert set(pictures([model()])) - set(pictures([without])) == {"layers"}


def test_intervals_that_end_at_their_middle_are_drawn():
    pytest.importorskip("matplotlib", reason="needs matplotlib, the report extra")
    whole = Accuracy(539, 539).to_json()
    assert whole["high_95"] < whole["accuracy"]
    whole_model = model()
    whole_model["rows"][1]["agreement"] = whole
    assert "engines" in pictures([whole_model])


def test_models_whose_files_are_missing(tmp_path, capsys):
    given = ["--data", str(tmp_path), "--work", str(tmp_path / "work"), "--output", str(tmp_path / "page")]
    with pytest.raises(UsageError, match=r"models/deit_tiny_patch16_224\.onnx: expected a file, got none \(--data"):
        command.main([*given, "--models", "deit_tiny"])


@pytest.mark.slow
def test_digits_from_end_to_end(tmp_path, capsys):
    folder: Path = tmp_path / "page"
    given = ["--models", "volo_digits", "--every", "20", "--work", str(tmp_path / "work"), "--output", str(folder)]
    assert command.main(given) == command.DONE
    found = json.loads((folder / "accuracy.json").read_text())["models"][0]
    assert found["pictures"] == 27
    assert len(found["rows"]) == 3 + 2 * 3 + 4
    assert all(row["agreement"]["correct"] == 27 for row in found["rows"])
    assert {len(errors) for errors in found["layers"].values()} == {42}
