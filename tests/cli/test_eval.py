import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from alula.cli.main import main
from alula.core.dtype import DType
from alula.core.preprocess import Preprocess
from tests.cli.fake_session import FakePort, FakeSession
from tests.conftest import ROOT
from tests.vision.pictures import noise, save_plain

Load = Callable[[FakeSession], FakeSession]
MIXED = {"a/0": 0, "b/0": 1, "a/1": 0, "b/1": 1, "b/2": 1, "a/2": 0}


def evaluate(images: Path, *options: str) -> int:
    return main(["eval", "m.alula", "--image-dir", str(images), *options])


def test_figures(session: FakeSession, images: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert evaluate(images, "--batch-size", "3", "--json", str(tmp_path / "f.json")) == 0
    out = capsys.readouterr().out
    assert "10 listed = 10 predicted + 0 failed" in out
    assert "top-1     90.00% (9 of 10, 95 % interval 59.58% to 98.21%)" in out
    assert "top-5     100.00% (10 of 10, " in out
    assert session.batches == [3, 3, 3, 1]
    assert session.closed
    figures = json.loads((tmp_path / "f.json").read_text())
    assert (figures["top1"]["correct"], figures["top5"]["correct"], figures["listed"]) == (9, 10, 10)
    assert figures["images_per_second"] > 0
    assert figures["failures"] == []


def test_every_listed_file_is_predicted_or_named(
    session: FakeSession, images: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (images / "a/0.png").write_bytes(b"")
    (images / "b/1.png").write_bytes((images / "b/0.png").read_bytes()[:50])
    (images / "b/2.png").write_text("no picture")
    assert evaluate(images, "--json", str(tmp_path / "f.json")) == 1
    captured = capsys.readouterr()
    assert "10 listed = 7 predicted + 3 failed" in captured.out
    assert "top-1     85.71% (6 of 7, " in captured.out
    assert [line.split(":")[1] for line in captured.err.splitlines()] == [
        " picture a/0.png",
        " picture b/1.png",
        " picture b/2.png",
    ]
    figures = json.loads((tmp_path / "f.json").read_text())
    assert [failure["name"] for failure in figures["failures"]] == ["a/0.png", "b/1.png", "b/2.png"]
    assert figures["predicted"] + figures["failed"] == figures["listed"] == 10


def test_weird_pictures_are_predicted(session: FakeSession, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "i/a").mkdir(parents=True)
    image = Image.fromarray(noise(16, 24))
    exif = Image.Exif()
    exif[0x0112] = 6
    for mode in ("L", "1", "LA", "P", "RGBA", "I;16"):
        image.convert("L" if mode == "I;16" else mode).convert(mode).save(tmp_path / f"i/a/{mode}.png", exif=exif)
    for mode in ("CMYK", "YCbCr", "RGB"):
        image.convert(mode).save(tmp_path / f"i/a/{mode}.jpg", exif=exif)
    assert evaluate(tmp_path / "i") == 0
    assert "9 listed = 9 predicted + 0 failed" in capsys.readouterr().out


def test_label_file(session: FakeSession, images: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("a/0.png 0\nb/0.png 1\nb/missing.png 1\nb/1.png 7\n")
    assert evaluate(images, "--label-file", str(tmp_path / "labels.txt")) == 1
    captured = capsys.readouterr()
    assert "4 listed = 3 predicted + 1 failed" in captured.out
    assert "top-1     66.67% (2 of 3" in captured.out
    assert captured.err == "error: picture b/missing.png: expected a readable picture, got No such file or directory\n"


def test_image_num_takes_the_first(session: FakeSession, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evaluate(images, "--image-num", "4") == 0
    assert "4 listed = 4 predicted + 0 failed" in capsys.readouterr().out


def test_fixed_batch_counts_the_last_partial_batch_once(
    load: Load, images: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    session = load(FakeSession(batch_range=(4, 4)))
    (tmp_path / "labels").write_text("".join(f"{name}.png {label}\n" for name, label in MIXED.items()))
    assert evaluate(images, "--label-file", str(tmp_path / "labels")) == 0
    assert session.batches == [4, 4]
    assert "top-1     100.00% (6 of 6, " in capsys.readouterr().out


def test_unfolded_model_gets_normalised_floats(load: Load, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    identity = Preprocess(crop=8, resize=8, mean=(0, 0, 0), std=(1 / 255, 1 / 255, 1 / 255), folded=False)
    load(FakeSession(preprocess=identity, inputs=(FakePort("x", DType.F32, (None, 3, 8, 8)),)))
    assert evaluate(images) == 0
    assert "top-1     90.00% (9 of 10, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preprocess": None}, "expected one that says how pictures become inputs (build --preprocess), got none"),
        ({"outputs": ()}, "expected a classifier of one input and one output, got 1 and 0"),
        ({"outputs": (FakePort("y", None, (None, 4, 7, 7)),)}, "expected scores [batch, classes], got (None, 4, 7, 7)"),
        ({"batch_range": (1, 2)}, "batch size: expected 1 to 2 for this model file, got 4"),
    ],
)
def test_unsuitable_models(
    load: Load, images: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, object], message: str
) -> None:
    session = load(FakeSession(**changes))
    assert evaluate(images) == 2
    assert capsys.readouterr().err.strip().endswith(message)
    assert session.closed


def test_model_with_scores_of_rank_4(load: Load, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    load(FakeSession(outputs=(FakePort("y", None, (None, 8, 1, 1)),)))
    assert evaluate(images) == 0
    assert "top-1     90.00% (9 of 10, " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--image-dir", "none"], "image folder none: expected a folder, got nothing"),
        (
            ["--image-dir", "flat"],
            "image folder flat: expected class folders or a --label-file, got pictures without classes",
        ),
        (["--image-dir", "empty"], "image folder empty: expected pictures, got none"),
        (
            ["--image-dir", "images", "--label-file", "none"],
            "file none: expected a readable text file, got No such file",
        ),
        (
            ["--image-dir", "images", "--name-file", "two"],
            "name file: expected 8 names, one for each class of the model",
        ),
        (["--image-dir", "images", "--batch-size", "0"], "expected a whole number of at least 1, got '0'"),
        (["--image-dir", "images", "--json", "none/f"], "writing none/f: expected an existing folder, got none"),
        (["--image-dir", "images", "--json", "images"], "writing images: expected a file, got a folder"),
        ([], "the following arguments are required: --image-dir"),
        (["--image-dir", "images", "--calibrate"], "unrecognized arguments: --calibrate"),
    ],
)
def test_wrong_usage_is_one_line_and_2(
    session: FakeSession,
    images: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(images.parent)
    save_plain(Path("flat/a.png"), 1)
    Path("empty").mkdir()
    Path("two").write_text("one\ntwo\n")
    assert main(["eval", "m.alula", *options]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("error: ")
    assert message in captured.err


def test_nan_is_a_named_failure(load: Load, images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = load(FakeSession())
    run = session.run

    def spoilt(*arrays: object) -> tuple[object, ...]:
        (scores,) = run(*arrays)
        scores[0, 3] = float("nan")
        return (scores,)

    session.run = spoilt
    assert evaluate(images, "--batch-size", "5") == 1
    captured = capsys.readouterr()
    assert "10 listed = 8 predicted + 2 failed" in captured.out
    assert "error: picture b/0.png: expected finite scores, got nan\n" in captured.err


def child(folder: Path, *words: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.cli.fake_session", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, **pipes)


def test_exit_codes_of_the_process(images: Path) -> None:
    good = child(images.parent, "0", "eval", "m", "--image-dir", "images")
    (images.parent / "bad").mkdir()
    (images.parent / "bad/x.png").touch()
    (images.parent / "labels").write_text("x.png 0\n")
    failed = child(images.parent, "0", "eval", "m", "--image-dir", "bad", "--label-file", "labels")
    wrong = child(images.parent, "0", "eval", "m", "--image-dir", "nothing")
    for process, code, errors in ((good, 0, 0), (failed, 1, 1), (wrong, 2, 1)):
        _, err = process.communicate(timeout=60)
        assert (process.returncode, err.count("\n")) == (code, errors)
        assert "Traceback" not in err


def test_interrupt_ends_a_long_evaluation_at_once(images: Path) -> None:
    for index in range(300):
        save_plain(images / f"b/more{index}.png", 5)
    process = child(
        images.parent, "0.05", "infer", "m", "--image-dir", "images", "--batch-size", "1", "--output-dir", "out"
    )
    deadline = time.monotonic() + 30
    while not (images.parent / "ready").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(0.7)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "", "interrupted\n")
    assert time.monotonic() - began < 3
    assert not (images.parent / "out").exists()


def test_real_model_on_real_pictures(
    load: Load, shared_file: Callable[[str], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """ONNX Runtime behind the session: the counts that were measured without us, see the data folder's description."""
    runtime = pytest.importorskip("onnxruntime")
    with zipfile.ZipFile(shared_file("imagenet_val_650.zip")) as archive:
        archive.extractall(tmp_path)
    options = runtime.SessionOptions()
    options.intra_op_num_threads = 1
    model = runtime.InferenceSession(shared_file("models/mobilenet_v1_0.25_224.onnx"), options)
    name = model.get_inputs()[0].name
    half = (0.5, 0.5, 0.5)
    contract = Preprocess(crop=224, resize=0, library="opencv", antialias=False, mean=half, std=half, folded=False)
    classes = FakePort("logits", DType.F32, (None, 1000))
    session = load(FakeSession(preprocess=contract, outputs=(classes,), tuned_batch=32))
    session.run = lambda images: model.run(None, {name: images})
    labels, names = (str(tmp_path / file) for file in ("labels.txt", "synset_words.txt"))
    assert evaluate(tmp_path, "--label-file", labels, "--name-file", names) == 0
    out = capsys.readouterr().out
    assert "(423 of 650, " in out
    assert "(564 of 650, " in out
