"""infer_cpp beside infer_python: the same files for the same pictures, and what both refuse."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import alula
from alula.cli.main import main
from alula.compiler import PRECISIONS
from alula.core.dims import symbol
from alula.core.dtype import DType
from alula.core.preprocess import Preprocess
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.ops.matmul import Linear
from alula.ops.shape import Reshape
from tests.samples.conftest import SAMPLE

SIDE, CLASSES = 8, 7
RESULTS = ("result_file", "result_label_file", "result_top1_file", "result_top5_file")


def save(path: Path, **options: object) -> Path:
    """A classifier of pictures: one product."""
    graph = Graph("small", {"N": (1, 512)})
    x = graph.input("images", TensorType(DType.F32, (symbol("N"), 3, SIDE, SIDE)))
    weight = np.random.default_rng(0).standard_normal((CLASSES, 3 * SIDE * SIDE)).astype(np.float32)
    flat = graph.add(Reshape((symbol("N"), 3 * SIDE * SIDE)), x)
    graph.output("scores", graph.add(Linear(), flat, graph.constant(weight)))
    config = alula.BuildConfig(preprocess=Preprocess(SIDE, 9), **options)
    alula.build(graph, config).save(path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eleven pictures in the layout of ILSVRC2012, a name file, and a model with its library."""
    folder = tmp_path_factory.mktemp("infer")
    random = np.random.default_rng(0)
    names = [f"ILSVRC2012_val_{number:08}.png" for number in range(1, 10)] + ["with blanks.png", "deeper/one.png"]
    (folder / "deeper").mkdir()
    for name in names:
        height, width = random.integers(9, 30, 2)
        Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(folder / name)
    lines = [f"{name} {number % CLASSES}" for number, name in enumerate(names)]
    (folder / "val.txt").write_text("\n".join(lines) + "\n")
    (folder / "names.txt").write_text("".join(f"n{number:08} name {number}\n" for number in range(CLASSES)))
    save(folder / "any.alula", batch_size=4)
    save(folder / "fixed.alula", batch_size=4, shape_mutable=False)
    for model in ("any", "fixed"):
        assert main(["compile", str(folder / f"{model}.alula"), "-o", str(folder)]) == 0
    return folder


@pytest.fixture
def python() -> list[str | Path]:
    return [sys.executable, SAMPLE / "infer_python/infer.py"]


def run(program: list[str | Path], folder: Path, out: Path, **changes: str) -> subprocess.CompletedProcess[str]:
    """One run of either program, its results in `out`; `changes` are arguments, None takes one away."""
    out.mkdir(exist_ok=True)
    arguments = {
        "device_id": "0",
        "magicmind_model": str(folder / "any.alula"),
        "image_dir": str(folder),
        "image_num": "0",
        "name_file": str(folder / "names.txt"),
        "label_file": str(folder / "val.txt"),
        **{result: str(out / result) for result in RESULTS},
        "batch_size": "4",
        **changes,
    }
    words = [word for name, value in arguments.items() if value is not None for word in (f"--{name}", value)]
    return subprocess.run([*program, *words], capture_output=True, text=True, check=False)


def results(out: Path) -> dict[str, str]:
    return {result: (out / result).read_text() for result in RESULTS}


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"image_num": "5", "batch_size": "1", "name_file": None},
        {"magicmind_model": "fixed.alula", "batch_size": "0"},
    ],
)
def test_the_same_files(
    infer: Path, python: list[str | Path], folder: Path, tmp_path: Path, changes: dict[str, str]
) -> None:
    """Scores included: nine digits are a float32's bits."""
    changes = {**changes, "magicmind_model": str(folder / changes.get("magicmind_model", "any.alula"))}
    for program, out in (([infer], "cpp"), (python, "python")):
        done = run(program, folder, tmp_path / out, **changes)
        assert (done.returncode, done.stderr) == (0, "")
    ours, theirs = results(tmp_path / "cpp"), results(tmp_path / "python")
    assert ours == theirs
    count = int(changes.get("image_num", 11))
    assert len(ours["result_top1_file"].splitlines()) == count
    assert ours["result_label_file"].splitlines()[:2] == [
        "ILSVRC2012_val_00000001.png 0",
        "ILSVRC2012_val_00000002.png 1",
    ]
    assert ours["result_file"].startswith("top5 result in ILSVRC2012_val_00000001.png:\n0 [")
    assert ("[name " in ours["result_file"]) == ("name_file" not in changes)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision(infer: Path, folder: Path, tmp_path: Path, precision: str) -> None:
    """Python's side runs in this process: starting another one takes longer than all the rest."""
    model = save(tmp_path / f"{precision}.alula", precision=precision)
    assert main(["compile", str(model), "-o", str(tmp_path)]) == 0
    done = run([infer], folder, tmp_path / "cpp", magicmind_model=str(model))
    assert (done.returncode, done.stderr) == (0, "")
    (tmp_path / "python").mkdir()
    words = [str(word) for word in done.args[1:]]
    ours = [word.replace(str(tmp_path / "cpp"), str(tmp_path / "python")) for word in words]
    infer_python = runpy.run_path(str(SAMPLE / "infer_python/infer.py"))["main"]
    assert infer_python(ours) == 0
    assert results(tmp_path / "cpp") == results(tmp_path / "python")


def test_an_unreadable_picture_is_named_and_takes_no_place(
    infer: Path, python: list[str | Path], folder: Path, tmp_path: Path
) -> None:
    lines = (folder / "val.txt").read_text().splitlines()
    (tmp_path / "val.txt").write_text("\n".join([*lines[:2], "none.png 3", *lines[2:]]))
    for program, out in (([infer], "cpp"), (python, "python")):
        done = run(program, folder, tmp_path / out, label_file=str(tmp_path / "val.txt"))
        assert done.returncode == 1
        assert done.stderr.count("error: picture none.png: expected") == 1
        assert "12 listed = 11 predicted + 1 failed" in done.stdout
    assert results(tmp_path / "cpp") == results(tmp_path / "python")
    assert "none.png" not in results(tmp_path / "cpp")["result_label_file"]


REFUSED = {
    "batch_size": ("600", "batch size: expected 1 to 512 for this model"),
    "image_num": ("-1", "image_num: expected a whole number"),
    "label_file": ("none.txt", "none.txt: expected"),
    "result_file": ("none/result", "writing none/result: expected"),
    "name_file": (str(SAMPLE / "requirement.txt"), f"name file: expected {CLASSES} names, one for each class"),
    "image_dir": (None, "image_dir: expected a value, got none"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_wrong_usage_is_one_line(infer: Path, folder: Path, tmp_path: Path, name: str) -> None:
    value, reason = REFUSED[name]
    done = run([infer], folder, tmp_path, **{name: value})
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert reason in line


def test_wrong_usage_of_python_is_one_line(python: list[str | Path], folder: Path, tmp_path: Path) -> None:
    for name, value, reason in (
        ("result_top5_file", "none/result", "writing none/result: expected"),
        ("batch_size", "600", REFUSED["batch_size"][1]),
    ):
        done = run(python, folder, tmp_path, **{name: value})
        assert done.returncode == 2
        (line,) = done.stderr.splitlines()
        assert line.startswith("error: ")
        assert reason in line


def test_a_model_without_its_library(infer: Path, folder: Path, tmp_path: Path) -> None:
    done = run([infer], folder, tmp_path, magicmind_model=str(tmp_path / "lonely.alula"))
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: model {tmp_path / 'lonely.alula'}: expected its library beside it")


def test_a_damaged_model(infer: Path, folder: Path, tmp_path: Path) -> None:
    for name in ("any.alula", "libany.so"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    content = bytearray((tmp_path / "any.alula").read_bytes())
    content[-64] ^= 1
    (tmp_path / "any.alula").write_bytes(content)
    done = run([infer], folder, tmp_path / "out", magicmind_model=str(tmp_path / "any.alula"))
    assert done.returncode == 2
    assert "expected its SHA-256, got another: the model file is damaged" in done.stderr


def test_unknown_options(infer: Path) -> None:
    for words, reason in ((["--foo", "3"], "got --foo"), (["foo"], "got 'foo'"), (["--image_dir"], "expected a value")):
        done = subprocess.run([infer, *words], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert reason in done.stderr
    shown = subprocess.run([infer, "--help"], capture_output=True, text=True, check=True).stdout
    assert "--magicmind_model" in shown
