"""Models whose height and width vary at run time: one file, a program for each size met, against PyTorch."""

import json

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

import alula
from alula.cli.main import main
from alula.core.errors import CodegenError, ImportFailed, ShapeError, UsageError
from alula.models.digits import volo_digits
from alula.runtime import session as sessions
from alula.runtime.library import compile_library

LEAST, MOST = (1, 3, 17, 17), (4, 3, 96, 80)
SHAPES = [(1, 3, 32, 48), (2, 3, 17, 19), (3, 3, 96, 80), (4, 3, 33, 33)]


class Segmenter(nn.Module):
    """Strides, a shortcut, a resized branch, a depthwise convolution: a class for each pixel, and one for the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU())
        self.deep = nn.Sequential(nn.MaxPool2d(3, 2, 1), nn.Conv2d(16, 16, 3, 1, 1, groups=16), nn.Hardswish())
        self.side = nn.Conv2d(3, 16, 1)
        self.pixels, self.whole = nn.Conv2d(16, 5, 3, 1, 1), nn.Linear(16, 7)

    def forward(self, x):
        fine = self.stem(x)
        deep = self.deep(fine)
        fine = fine + functional.interpolate(deep, size=fine.shape[2:], mode="nearest")
        large = functional.interpolate(fine, size=x.shape[2:], mode="bilinear", align_corners=False)
        return self.pixels(large + self.side(x)), self.whole(functional.adaptive_avg_pool2d(deep, 1).flatten(1))


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    model = Segmenter().eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
    return model


@pytest.fixture(scope="module")
def onnx_file(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("open") / "model.onnx"
    axes = {"x": {0: "n", 2: "height", 3: "width"}}
    example = (torch.randn(2, 3, 32, 48),)
    torch.onnx.export(model, example, str(path), dynamo=False, input_names=["x"], dynamic_axes=axes, opset_version=17)
    return path


def imported(door: str, model, onnx_file):
    if door == "onnx":
        return alula.from_onnx(onnx_file, dim_range=(LEAST, MOST))
    return alula.from_torch(model, (torch.randn(1, 3, 32, 48),), dim_range=(LEAST, MOST))


def picture(shape):
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


@pytest.fixture(scope="module", params=["onnx", "torch"])
def file(request, model, onnx_file, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / f"{request.param}.alula"
    alula.build(imported(request.param, model, onnx_file)).save(path)
    return path


def test_every_size_as_pytorch(file, model):
    with alula.load(file, threads=2) as session:
        assert [str(port.type) for port in session.outputs] == ["f32[N,5,H,W]", "f32[N,7]"]
        assert session.size_ranges == {"H": (17, 96), "W": (17, 80)}
        for shape in SHAPES:
            x = picture(shape)
            with torch.inference_mode():
                wanted = model(torch.from_numpy(x))
            for got, theirs in zip(session.run(x), wanted, strict=True):
                assert got.shape == theirs.shape
                assert np.abs(got - theirs.numpy()).max() <= 2e-6 * theirs.abs().max()


def test_onnx_as_onnx_runtime(onnx_file, model, tmp_path):
    alula.build(imported("onnx", model, onnx_file)).save(tmp_path / "m.alula")
    theirs = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    with alula.load(tmp_path / "m.alula", threads=1) as session:
        x = picture((2, 3, 41, 23))
        for got, wanted in zip(session.run(x), theirs.run(None, {"x": x}), strict=True):
            assert np.abs(got - wanted).max() <= 2e-6 * np.abs(wanted).max()


def test_the_same_bits_as_a_file_of_that_size(file, model, onnx_file, tmp_path):
    shape = (2, 3, 33, 48)
    example = (torch.randn(*shape),)
    fixed = alula.from_torch(model, example, dim_range=((1, *shape[1:]), (4, *shape[1:])))
    if file.stem == "onnx":
        fixed = alula.from_onnx(onnx_file, dim_range=((1, *shape[1:]), (4, *shape[1:])))
    alula.build(fixed).save(tmp_path / "fixed.alula")
    with alula.load(file, threads=1) as ours, alula.load(tmp_path / "fixed.alula", threads=1) as theirs:
        for got, wanted in zip(ours.run(picture(shape)), theirs.run(picture(shape)), strict=True):
            assert got.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("precision", ["force_float16", "force_bfloat16", "qint8_mixed_float32"])
def test_other_precisions(precision, model, onnx_file, tmp_path):
    calibration = [picture(shape) for shape in SHAPES] if precision.startswith("qint8") else None
    graph = imported("onnx", model, onnx_file)
    alula.build(graph, alula.BuildConfig(precision=precision), calibration).save(tmp_path / "m.alula")
    with alula.load(tmp_path / "m.alula", threads=1) as session:
        for shape in SHAPES[:2]:
            with torch.inference_mode():
                wanted = model(torch.from_numpy(picture(shape)))
            for got, theirs in zip(session.run(picture(shape)), wanted, strict=True):
                assert np.abs(got - theirs.numpy()).max() <= 0.05 * theirs.abs().max()


def test_programs_are_kept_and_let_go(file, monkeypatch):
    made = []
    monkeypatch.setattr(sessions, "MOST_PROGRAMS", 2)
    prepare = sessions.prepare
    monkeypatch.setattr(sessions, "prepare", lambda *given: made.append(given[2]) or prepare(*given))
    with alula.load(file, threads=1, sizes={"H": 20, "W": 20}) as session:
        for height in (20, 24, 20, 28, 20, 24):
            session.run(picture((1, 3, height, 20)))
    assert [sizes["H"] for sizes in made] == [20, 24, 28, 24]


def test_a_second_session_takes_programs_from_the_cache(file):
    for expected in (False, True):
        with alula.load(file, threads=1, sizes={"H": 21, "W": 22}) as session:
            assert session.sizes == {"H": 21, "W": 22}
            assert session.from_cache is expected


def test_what_a_session_says_is_of_its_sizes(file):
    with alula.load(file, threads=1, sizes={"H": 34, "W": 34}) as large, alula.load(file, threads=1) as small:
        assert small.sizes == {"H": 17, "W": 17}
        assert 3.5 < large.macs / small.macs < 4.5
        assert len(large.profile(picture((1, 3, 34, 34)))) == len(large.steps)
        with pytest.raises(ShapeError, match="profile: expected the session's sizes H=34,W=34, got H=17,W=34"):
            large.profile(picture((1, 3, 17, 34)))


@pytest.mark.parametrize(
    ("shape", "text"),
    [
        ((1, 3, 16, 20), "size H: expected 17..96, got 16"),
        ((1, 3, 20, 81), "size W: expected 17..80, got 81"),
        ((5, 3, 20, 20), "run: expected a batch of 1..4, got 5"),
        ((1, 4, 20, 20), r"run input x: expected x f32\[N,3,H,W\], got float32\[1, 4, 20, 20\]"),
    ],
)
def test_sizes_out_of_range(file, shape, text):
    with alula.load(file, threads=1) as session, pytest.raises(ShapeError, match=text):
        session.run(picture(shape))


def test_sizes_that_a_file_has_not(file):
    with pytest.raises(ShapeError, match="sizes: expected some of H, W, got D"):
        alula.load(file, sizes={"D": 3})
    with pytest.raises(ShapeError, match=r"size H: expected 17\.\.96, got 97"):
        alula.load(file, sizes={"H": 97})


def test_a_closed_session_makes_no_program(file):
    session = alula.load(file, threads=1)
    session.close()
    with pytest.raises(UsageError, match="expected an open one"):
        session.run(picture((1, 3, 60, 60)))


def test_a_library_has_one_size(file, tmp_path):
    with pytest.raises(CodegenError, match="expected an open batch alone, got H, W open too"):
        compile_library(file, tmp_path, None, "0")


def test_volo_says_what_fixes_its_size():
    with pytest.raises(
        ImportFailed, match="VOLO: expected images of 32 x 32, which its stem and position embedding fix"
    ):
        alula.from_torch(volo_digits(), (torch.randn(1, 3, 32, 32),), dim_range=((1, 3, 32, 32), (8, 3, 64, 64)))


def test_code_that_holds_for_some_sizes_alone():
    class Paired(nn.Module):
        def forward(self, x):
            return x.reshape(x.shape[0], x.shape[1], 2, x.shape[2] // 2)

    with pytest.raises(ImportFailed, match=r"every D2 from 4 to 9, got code for \(D2 % 2\) == 0 alone"):
        alula.from_torch(Paired(), (torch.randn(1, 3, 8),), dim_range=((1, 3, 4), (2, 3, 9)))


def test_commands(onnx_file, tmp_path, capsys):
    file, figures = tmp_path / "m.alula", tmp_path / "f.json"
    ranges = ["--dim-range", "1,3,17,17", "4,3,96,80"]
    assert main(["build", str(onnx_file), "-o", str(file), *ranges]) == 0
    assert "takes x f32[N,3,H,W] with N from 1 to 4, H from 17 to 96, W from 17 to 80" in capsys.readouterr().out
    measured = ["--iterations", "2", "--threads", "1", "--json", str(figures)]
    assert main(["perf", str(file), "--sizes", "H=32,W=48", *measured]) == 0
    assert "batch 1, H 32, W 48" in capsys.readouterr().out
    assert json.loads(figures.read_text())["sizes"] == {"H": 32, "W": 48}
    assert main(["inspect", str(file), "--sizes", "H=32,W=48", "--json", str(figures)]) == 0
    facts = json.loads(figures.read_text())
    assert (facts["sizes"], facts["inputs"][0]["type"]) == ({"H": 32, "W": 48}, "f32[N,3,H,W]")
    assert facts["size_ranges"] == {"H": [17, 96], "W": [17, 80]}
    capsys.readouterr()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["perf", "M", "--sizes", "H=16"], "error: size H: expected 17..96, got 16"),
        (["inspect", "M", "--sizes", "X=16"], "error: sizes: expected some of H, W, got X"),
        (["perf", "M", "--sizes", "H:16"], "expected sizes like H=480,W=640, got 'H:16'"),
        (["perf", "M", "--sizes", "H=1,H=2"], "expected sizes like H=480,W=640, got 'H=1,H=2'"),
        (["explain", "M"], "error: model M: expected an open batch alone, got H, W open too"),
        (["verify", "S", "M"], "error: model M: expected an open batch alone, got H, W open too"),
        (["compile", "M", "-o", "lib"], "error: model file M: expected an open batch alone, got H, W open too"),
    ],
)
def test_commands_refuse(arguments, text, file, onnx_file, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"M": str(file), "S": str(onnx_file)}
    assert _code([names.get(argument, argument) for argument in arguments]) == 2
    error = capsys.readouterr().err
    assert text.replace(" M:", f" {file}:") in error


def _code(arguments):
    try:
        return main(arguments)
    except SystemExit as stop:  # argparse
        return stop.code
