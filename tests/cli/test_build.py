import json
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch

import alula
import alula.compiler as compiler_module
from alula.cli.main import main
from alula.cli.options import ACTIVATIONS, ALGORITHMS, PRECISIONS, WEIGHTS
from alula.core.dtype import DType
from alula.core.files import atomic_write
from alula.core.preprocess import Preprocess, named_preprocess
from alula.ir.graph import Graph
from alula.ir.types import TensorType
from alula.quant import scheme, thresholds
from alula.runtime import summary
from tests.vision.pictures import save_plain


@dataclass
class Compiler:
    """What stands in for the layers below the command: it keeps what it was asked for."""

    carried: Preprocess | None = None
    shape: tuple[int, ...] = (2, 3, 64, 64)
    batches: tuple[int, int] = (1, 512)
    sizes: dict[str, tuple[int, int]] = field(default_factory=dict)
    asked: dict[str, Any] = field(default_factory=dict)
    calibration: list[tuple[np.dtype, tuple[int, ...]]] | None = None
    built_with: alula.Calibration | None = None

    def from_torch(self, path: Path, dim_range: object = None) -> Graph:
        self.asked["dim_range"] = dim_range
        graph = Graph("model")
        graph.input("x", TensorType(DType.F32, self.shape))
        graph.preprocess = self.carried
        return graph

    def calibrate(self, graph: Graph, config: alula.BuildConfig, inputs: Iterable[np.ndarray]) -> alula.Calibration:
        self.calibration = [(a.dtype, a.shape) for a in inputs]
        return alula.Calibration("0" * 64, sum(shape[0] for _, shape in self.calibration))

    def build(
        self, graph: Graph, config: alula.BuildConfig, calibration: alula.Calibration | None = None
    ) -> "Compiler":
        self.asked.update({field.name: getattr(config, field.name) for field in fields(config)})
        self.built_with = calibration
        return self

    def save(self, path: Path) -> None:
        with atomic_write(path) as file:
            file.write(b"x" * 1_234_567)

    def facts(self, path: Path) -> dict[str, Any]:
        return {
            "bytes": {"file": path.stat().st_size},
            "kernels": [{"count": 3}, {"count": 4}],
            "precision": self.asked["precision"],
            "target": "avx2",
            "inputs": [{"name": "x", "dtype": "u8", "shape": [None, 64, 64, 3], "type": "u8[N,64,64,3]"}],
            "batch_range": self.batches,
            "size_ranges": self.sizes,
        }


@pytest.fixture
def compiler(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Compiler:
    stand_in = Compiler()
    for name, value in (
        ("from_torch", stand_in.from_torch),
        ("calibrate", stand_in.calibrate),
        ("build", stand_in.build),
    ):
        monkeypatch.setattr(alula, name, value, raising=False)
    monkeypatch.setattr(summary, "summary", stand_in.facts)
    monkeypatch.chdir(tmp_path)
    program = torch.export.export(torch.nn.ReLU(), (torch.zeros(2, 3),))
    torch.export.save(program, "m.pt2")
    return stand_in


def test_what_was_built_and_the_figures(compiler: Compiler, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", "m.pt2", "-o", "m.alula", "--json", "f.json"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("m.alula: 1.2 MB, 7 kernels, force_float32 for avx2, built in ")
    assert out.endswith("\ntakes x u8[N,64,64,3] with N from 1 to 512\n")
    assert out.count("\n") == 2
    figures = json.loads(Path("f.json").read_text())
    assert (figures["bytes"], figures["kernels"], figures["calibration"]) == (1_234_567, 7, None)
    assert (figures["precision"], figures["build_ms"] > 0) == ("force_float32", True)
    assert compiler.asked == {
        "dim_range": None,
        "precision": "force_float32",
        "preprocess": None,
        "fold_normalisation": True,
        "target": "native",
        "shape_mutable": True,
        "batch_size": 1,
        "scheme": alula.Scheme(),
    }


def test_a_fixed_batch_is_said(compiler: Compiler, capsys: pytest.CaptureFixture[str]) -> None:
    compiler.batches = (4, 4)
    assert main(["build", "m.pt2", "-o", "m.alula"]) == 0
    assert "with N = 4 alone" in capsys.readouterr().out


def test_every_option_arrives(compiler: Compiler) -> None:
    words = "--precision force_float32 --shape-mutable false --batch-size 8 --target avx2 --preprocess volo"
    others = ["--no-fold-normalisation", "--dim-range", "1,3,64,64", "9,3,64,64"]
    assert main(["build", "m.pt2", "-o", "m.alula", *words.split(), *others]) == 0
    assert compiler.asked == {
        "dim_range": ((1, 3, 64, 64), (9, 3, 64, 64)),
        "precision": "force_float32",
        "preprocess": named_preprocess("volo", 64),
        "fold_normalisation": False,
        "target": "avx2",
        "shape_mutable": False,
        "batch_size": 8,
        "scheme": alula.Scheme(),
    }


def test_contract_of_the_program_and_of_a_file(compiler: Compiler) -> None:
    compiler.carried = named_preprocess("volo", 64)
    assert main(["build", "m.pt2", "-o", "m.alula"]) == 0
    assert compiler.asked["preprocess"] == compiler.carried
    own = Preprocess(crop=64, resize=70, order="BGR")
    Path("own.json").write_text(json.dumps(own.to_json()))
    assert main(["build", "m.pt2", "-o", "m.alula", "--preprocess", "own.json"]) == 0
    assert compiler.asked["preprocess"] == own


def test_torchscript_goes_to_the_same_importer(compiler: Compiler) -> None:
    with zipfile.ZipFile("script.pt", "w") as archive:
        archive.writestr("script/code/__torch__/models/net.py", "")
    assert main(["build", "script.pt", "-o", "m.alula"]) == 0
    assert compiler.asked["dim_range"] is None


def files(folder: Path) -> None:
    """Files that are no exported programs."""
    torch.save({"a": torch.zeros(1)}, folder / "checkpoint.pth.tar")
    torch.save({"a": torch.zeros(1)}, folder / "legacy.pt", _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(folder / "other.zip", "w") as archive:
        archive.writestr("readme", "")
    (folder / "m.txt").write_text("PK")
    (folder / "empty.pt2").touch()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("checkpoint.pth.tar", "got a checkpoint: weights without their model, which alula export --checkpoint"),
        ("legacy.pt", "got a checkpoint"),
        ("other.zip", "got a zip file without one"),
        ("m.txt", "got another kind of file"),
        ("empty.pt2", "got another kind of file"),
        ("missing.pt2", "expected a readable file, got No such file or directory"),
        ("folder", "expected a readable file, got Is a directory"),
    ],
)
def test_other_files_are_named_for_what_they_are(
    compiler: Compiler, capsys: pytest.CaptureFixture[str], tmp_path: Path, name: str, found: str
) -> None:
    files(tmp_path)
    Path("folder").mkdir()
    assert main(["build", name, "-o", "m.alula"]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: model {name}: expected ")
    assert error.count("\n") == 1
    assert re.search(found, error)
    assert compiler.asked == {}
    assert not Path("m.alula").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--shape-mutable", "yes"], "expected true or false, got 'yes'"),
        (["--dim-range", "1,3", "x"], "expected sizes like 1,3,224,224, got 'x'"),
        (["--preprocess", "none.json"], "expected volo, volo-opencv, imagenet or a JSON file, got No such file"),
        (["--preprocess", "broken.json"], "preprocess broken.json: expected JSON, got Expecting value"),
        (["--preprocess", "wrong.json"], "preprocess: expected keys among"),
        (["-o", "none/m.alula"], "writing none/m.alula: expected an existing folder, got none"),
        (["--precision", "int3"], "precision: expected one of force_float32, "),
        (["--target", "mips"], "target: expected one of avx2, avx512, "),
        (["--calibration-dir", "."], "--calibration-dir: expected a qint8 precision or all, got force_float32"),
        (["--eval-dir", "."], "--eval-dir: expected --precision all or --max-drop, got force_float32"),
        (["--calibration", "c.json"], "--calibration: expected a qint8 precision or all, got force_float32"),
        (["--weights", "per-channel"], "--weights: expected a qint8 precision or all, got force_float32"),
        (["--calibration-algorithm", "best"], "argument --calibration-algorithm: invalid choice: 'best'"),
        (["--save-calibration", "no/c.json"], "writing no/c.json: expected an existing folder, got no"),
        (["--calibration-num", "0"], "expected a whole number of at least 1, got '0'"),
        (["--max-drop", "0.5"], "--max-drop: expected a qint8 precision, got force_float32"),
    ],
)
def test_wrong_usage(compiler: Compiler, capsys: pytest.CaptureFixture[str], options: list[str], message: str) -> None:
    Path("broken.json").write_text("volo")
    Path("wrong.json").write_text('{"size": 3}')
    assert main(["build", "m.pt2", "-o", "m.alula", *options]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not Path("m.alula").exists()


def test_named_contract_needs_pictures(compiler: Compiler, capsys: pytest.CaptureFixture[str]) -> None:
    compiler.shape = (2, 10)
    assert main(["build", "m.pt2", "-o", "m.alula", "--preprocess", "volo"]) == 2
    assert (
        "expected an input [batch, 3, s, s] or [batch, s, s, 3] to preprocess for, got f32[2,10]"
        in capsys.readouterr().err
    )


def test_help_lists_every_precision(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    assert PRECISIONS == compiler_module.PRECISIONS
    assert main(["build", "--help"]) == 0
    assert f"{', '.join(PRECISIONS)} or all" in capsys.readouterr().out


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Twenty pictures of class a, ten of class b."""
    for number in range(20):
        save_plain(tmp_path / f"pictures/a/{number:02}.png", number)
    for number in range(10):
        save_plain(tmp_path / f"pictures/b/{number:02}.png", 100 + number)
    return tmp_path / "pictures"


INT8 = ["build", "m.pt2", "-o", "m.alula", "--precision", "qint8_mixed_float32"]


@pytest.mark.usefixtures("pictures")
def test_calibration_gets_what_the_built_model_takes(compiler: Compiler, capsys: pytest.CaptureFixture[str]) -> None:
    compiler.carried = named_preprocess("volo", 64)
    words = [*INT8, "--calibration-dir", "pictures", "--calibration-num", "9", "--json", "f.json"]
    assert main(words) == 0
    assert compiler.calibration == [(np.uint8, (1, 64, 64, 3))] * 9  # its graph has no batch of any size
    out, error = capsys.readouterr()
    assert out.endswith("\ncalibration: 9 pictures = 9 used + 0 failed\n")
    assert error == ""
    expected = {"listed": 9, "used": 9, "failed": 0, "failures": []}
    assert json.loads(Path("f.json").read_text())["calibration"] == expected
    assert main([*words, "--no-fold-normalisation"]) == 0
    assert compiler.calibration[0] == (np.float32, (1, 3, 64, 64))


def test_a_picture_that_cannot_be_read_is_named(
    compiler: Compiler, capsys: pytest.CaptureFixture[str], pictures: Path
) -> None:
    compiler.carried = named_preprocess("volo", 64)
    (pictures / "b/05.png").write_bytes(b"no picture")
    assert main([*INT8, "--calibration-dir", "pictures", "--json", "f.json"]) == 1
    out, error = capsys.readouterr()
    assert out.endswith("calibration: 30 pictures = 29 used + 1 failed\n")
    assert error.startswith("error: picture b/05.png: expected one of JPEG, ")
    assert error.count("\n") == 1
    assert sum(shape[0] for _, shape in compiler.calibration) == 29
    assert [failure["name"] for failure in json.loads(Path("f.json").read_text())["calibration"]["failures"]] == [
        "b/05.png"
    ]
    assert Path("m.alula").exists()


def test_a_folder_without_readable_pictures_is_told_at_once(
    compiler: Compiler, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    assert main([*INT8, "--calibration-dir", "empty"]) == 2
    assert capsys.readouterr().err == "error: image folder empty: expected pictures, got none\n"
    (tmp_path / "empty/a.png").write_bytes(b"no picture")
    assert main([*INT8, "--calibration-dir", "empty"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: image folder empty: expected readable pictures, got none among 1 (picture a.png: ")
    assert error.count("\n") == 1
    assert compiler.asked == {}


@pytest.mark.usefixtures("pictures")
def test_calibration_needs_a_contract(compiler: Compiler, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INT8, "--calibration-dir", "pictures"]) == 2
    assert "expected a model that says how they become inputs (--preprocess), got none" in capsys.readouterr().err


def test_int8_without_calibration_says_what_it_does(compiler: Compiler, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(INT8) == 0
    error = capsys.readouterr().err
    assert error.startswith("note: activations get a scale for each row; convolutions stay float: --calibration-dir ")
    assert error.count("\n") == 1
    assert compiler.calibration is None


@pytest.mark.usefixtures("pictures")
def test_calibration_is_saved_and_taken_instead_of_pictures(
    compiler: Compiler, capsys: pytest.CaptureFixture[str]
) -> None:
    compiler.carried = named_preprocess("volo", 64)
    assert main([*INT8, "--calibration-dir", "pictures", "--save-calibration", "c.json"]) == 0
    assert json.loads(Path("c.json").read_text())["images"] == 30
    compiler.calibration = None
    assert main([*INT8, "--calibration", "c.json"]) == 0
    assert (compiler.calibration, compiler.built_with) == (None, alula.Calibration("0" * 64, 30))
    assert capsys.readouterr().err == ""


@pytest.mark.usefixtures("pictures")
def test_calibration_options_that_exclude_each_other(compiler: Compiler, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*INT8, "--calibration", "c.json", "--calibration-dir", "pictures"]) == 2
    assert main([*INT8, "--save-calibration", "c.json"]) == 2
    assert main([*INT8, "--calibration", "none.json"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "error: --calibration-dir: expected no --calibration, which holds what pictures showed, got one",
        "error: --save-calibration: expected --calibration-dir, got none",
        "error: calibration none.json: expected a file, got No such file or directory",
    ]
    assert compiler.built_with is None


def test_a_scheme_arrives(compiler: Compiler) -> None:
    words = "--calibration-algorithm entropy --activations symmetric --weights per-tensor"
    assert main([*INT8, *words.split()]) == 0
    assert compiler.asked["scheme"] == alula.Scheme("entropy", "symmetric", "per-tensor")


def test_choices_of_a_scheme_are_those_there_are() -> None:
    assert tuple(thresholds.ALGORITHMS) == ALGORITHMS
    assert (get_args(scheme.Activations), get_args(scheme.Weights)) == (ACTIVATIONS, WEIGHTS)
