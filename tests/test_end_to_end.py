"""The whole way of a trained model, as a user goes it: every command on the digits VOLO, with real files."""

import json
import os
import signal
import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import alula
from alula.artifact.reader import read_model
from alula.cli.main import main
from alula.codegen.program import assemble, lower_for
from alula.core.errors import ShapeError
from alula.models import digits
from alula.runtime.programs import target_here
from tests.vision.pictures import noise

ROOT = Path(__file__).resolve().parent.parent
LEAST_TOP_1 = 0.97
CLOSE = 5e-6  # of the largest logit
OLD = b"what was here before"


@pytest.fixture(scope="module")
def pt2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("exported") / "volo_digits.pt2"
    assert main(["export", "volo_digits", "-o", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def built(pt2: Path) -> Callable[..., Path]:
    """`built(*options)`: the model file that `alula build` makes with these options, made once."""

    @cache
    def build(*options: str) -> Path:
        path = pt2.with_name(f"{'_'.join(['volo_digits', *options])}.alula")
        assert main(["build", str(pt2), "-o", str(path), *options]) == 0
        return path

    return build


@pytest.fixture(scope="module")
def model(built: Callable[..., Path]) -> Path:
    return built()


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The held-out pictures as files in class folders."""
    folder = tmp_path_factory.mktemp("digits")
    digits.write_digits_images(folder)
    return folder


@pytest.fixture(scope="module")
def expected(pictures: Path) -> dict[str, np.ndarray]:
    """PyTorch's logits by the picture's name; decoding and normalising here are Pillow and PyTorch alone."""
    paths = sorted(pictures.glob("*/*.png"))
    assert len(paths) > 500
    batch = torch.stack([torch.from_numpy(np.array(Image.open(path))) for path in paths]).permute(0, 3, 1, 2)
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (digits.PREPROCESS.mean, digits.PREPROCESS.std))
    with torch.inference_mode():
        logits = digits.volo_digits()((batch / 255 - mean) / std).numpy()
    return {path.relative_to(pictures).as_posix(): row for path, row in zip(paths, logits, strict=True)}


def alula_process(*words: object, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "alula", *map(str, words)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_eval_is_as_good_as_trained(
    model: Path, pictures: Path, expected: dict[str, np.ndarray], tmp_path: Path
) -> None:
    figures = tmp_path / "f.json"
    assert main(["eval", str(model), "--image-dir", str(pictures), "--batch-size", "64", "--json", str(figures)]) == 0
    found = json.loads(figures.read_text())
    assert found["listed"] == found["predicted"] == found["top1"]["total"] == len(expected)
    assert found["top1"]["accuracy"] >= LEAST_TOP_1
    right = sum(row.argmax() == int(name.partition("/")[0]) for name, row in expected.items())
    assert found["top1"]["correct"] == right


@pytest.mark.parametrize("options", [(), ("--no-fold-normalisation",), ("--target", "avx2")])
def test_infer_predicts_what_pytorch_predicts(
    built: Callable[..., Path],
    pictures: Path,
    expected: dict[str, np.ndarray],
    tmp_path: Path,
    options: tuple[str, ...],
) -> None:
    out = tmp_path / "out"
    words = ["infer", built(*options), "--image-dir", pictures, "--batch-size", 50, "--output-dir", out]
    assert main([str(word) for word in words]) == 0
    entries = json.loads((out / "predictions.json").read_text())
    assert [entry["name"] for entry in entries] == sorted(expected)
    for entry in entries:
        logits = expected[entry["name"]]
        assert entry["classes"][0] == logits.argmax()
        np.testing.assert_allclose(entry["scores"], logits[entry["classes"]], atol=CLOSE * abs(logits).max())
    lines = (out / "eval_result_1.txt").read_text().splitlines()
    assert lines == [f"{name} {logits.argmax()}" for name, logits in sorted(expected.items())]


def test_classify(model: Path, pictures: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    picture = min((pictures / "7").iterdir())
    names = tmp_path / "names.txt"
    names.write_text("".join(f"the digit {digit}\n" for digit in range(10)))
    assert main(["classify", str(model), str(picture), "--name-file", str(names)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith(f"{picture}  ")
    assert lines[1].endswith(" the digit 7")
    assert len(lines) == 6


def test_perf(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["perf", str(model), "--batch-size", "3", "--threads", "2", "--iterations", "5"]
    assert main([*words, "--json", str(tmp_path / "f.json")]) == 0
    figures = json.loads((tmp_path / "f.json").read_text())
    assert set(figures["latency_ms"]) == {"min", "mean", "p50", "p90", "p95", "p99", "max"}
    assert figures["latency_ms"]["min"] > 0
    assert (figures["batch_size"], figures["threads"], figures["iterations"]) == (3, 2, 5)
    assert 0 < figures["peak_fraction"] < 1.5
    assert "images/s" in capsys.readouterr().out


def test_inspect_knows_ports_ops_kernels_and_work(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["inspect", str(model), "--json", str(tmp_path / "f.json")]) == 0
    found = json.loads((tmp_path / "f.json").read_text())
    assert found["inputs"] == [{"name": "images", "dtype": "u8", "shape": [None, 32, 32, 3], "type": "u8[N,32,32,3]"}]
    assert [(port["dtype"], port["shape"]) for port in found["outputs"]] == [("f32", [None, 10])]
    assert found["bytes"]["file"] == model.stat().st_size > found["bytes"]["weights"] > 1_900_000
    assert (found["precision"], found["batch_range"], found["int8_mac_fraction"]) == ("force_float32", [1, 512], 0.0)
    assert found["preprocess"] == digits.PREPROCESS.to_json()
    assert found["provenance"]["weights"] == "volo_digits.pth"
    assert {op["dtype"] for op in found["ops"]} == {"f32"}
    assert sum(op["op"] == "outlook_attention" for op in found["ops"]) == 2
    assert found["macs"] == sum(kernel["macs"] for kernel in found["kernels"])
    with alula.load(model) as session:
        assert found["macs"] == session.macs
        assert sum(kernel["count"] for kernel in found["kernels"]) == len(session.steps)


def test_multiply_adds_are_pytorchs(model: Path) -> None:
    """Counted by hooks on PyTorch's own layers; the products inside attention come on top of those."""
    module, counted = digits.volo_digits(), []

    def count(layer: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        counted.append(output.numel() * layer.weight[0].numel())

    for layer in module.modules():
        if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
            layer.register_forward_hook(count)
    with torch.inference_mode():
        module(torch.zeros(1, 3, 32, 32))
    with alula.load(model, threads=1) as session:
        attention = sum(step.macs for step in session.steps if step.label.endswith("attention"))
        assert 0 < attention < session.macs / 10
        assert session.macs - attention == sum(counted)


def test_doctor_on_this_machine(tmp_path: Path) -> None:
    assert main(["doctor", "--json", str(tmp_path / "f.json")]) == 0
    findings = json.loads((tmp_path / "f.json").read_text())
    assert findings["peak_per_thread"]["f32"] > 1
    assert findings["cache"]["writable"]


def machine_code(path: Path) -> str:
    """The assembly of the program that runs a model file."""
    with read_model(path) as file:
        state = lower_for(file.graph(), target_here(file))
        assemble(state)
        return state.code.assembly()


@pytest.mark.isa("avx512")
def test_target_avx2_runs_avx2_code(built: Callable[..., Path], model: Path, tmp_path: Path) -> None:
    narrow, figures = built("--target", "avx2"), tmp_path / "f.json"
    assert main(["perf", str(narrow), "--iterations", "1", "--json", str(figures)]) == 0
    assert json.loads(figures.read_text())["target"] == "avx2"
    code = machine_code(narrow)
    assert "ymm" in code
    assert "zmm" not in code
    assert "zmm" in machine_code(model)


def test_fixed_batch_refuses_every_other(built: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    fixed = built("--shape-mutable", "false", "--batch-size", "4")
    assert main(["perf", str(fixed), "--batch-size", "5"]) == 2
    assert capsys.readouterr().err == "error: batch size: expected 4, the only one, for this model file, got 5\n"
    with alula.load(fixed) as session:
        assert session.run(np.zeros((4, 32, 32, 3), np.uint8))[0].shape == (4, 10)
        for batch in (0, 1, 3, 5):
            with pytest.raises(ShapeError, match=f"run: expected a batch of 4, got {batch}"):
                session.run(np.zeros((batch, 32, 32, 3), np.uint8))


def test_building_again_gives_the_same_bytes(pt2: Path, model: Path, tmp_path: Path) -> None:
    assert main(["build", str(pt2), "-o", str(tmp_path / "again.alula")]) == 0
    assert (tmp_path / "again.alula").read_bytes() == model.read_bytes()


def odd_pictures(folder: Path) -> None:
    """One digit in every form that pictures come in; two lie on their side, one of them until its EXIF is followed."""
    plain = digits.load_digits("held-out")
    six = Image.fromarray(plain.pixels[plain.labels == 6][0]).resize((64, 64), Image.Resampling.BICUBIC)
    folder.mkdir()
    six.convert("L").save(folder / "grey.png")
    six.convert("CMYK").save(folder / "cmyk.jpg", quality=95)
    six.convert("P").save(folder / "palette.png")
    six.convert("RGBA").save(folder / "alpha.png")
    Image.fromarray(np.asarray(six.convert("L")).astype(np.uint16) * 257).save(folder / "sixteen.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    sideways = six.transpose(Image.Transpose.ROTATE_90)
    sideways.save(folder / "turned.jpg", exif=exif, quality=95)
    sideways.save(folder / "sideways.jpg", quality=95)


def test_odd_pictures_are_predicted(model: Path, tmp_path: Path) -> None:
    odd_pictures(tmp_path / "odd")
    assert main(["infer", str(model), "--image-dir", str(tmp_path / "odd"), "--output-dir", str(tmp_path / "out")]) == 0
    entries = json.loads((tmp_path / "out/predictions.json").read_text())
    best = {entry["name"]: entry["classes"][0] for entry in entries}
    assert len(best) == 7
    assert best.pop("sideways.jpg") != 6  # the control: a six on its side is none
    assert set(best.values()) == {6}


def bomb() -> bytes:
    """A PNG of 50,000 x 50,000 pixels in a few bytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 50_000, 50_000, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def test_bad_pictures_are_named_and_the_others_predicted(model: Path, pictures: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mixed"
    good = sorted((pictures / "3").iterdir())[:2]
    for path in good:
        (folder / "3").mkdir(parents=True, exist_ok=True)
        (folder / "3" / path.name).write_bytes(path.read_bytes())
    (folder / "3/truncated.png").write_bytes(good[0].read_bytes()[:-200])
    (folder / "3/zero.png").touch()
    (folder / "3/bomb.png").write_bytes(bomb())
    (folder / "3/text.jpg").write_text("not a picture")
    done = alula_process("eval", model, "--image-dir", folder)
    assert done.returncode == 1
    assert "images    6 listed = 2 predicted + 4 failed" in done.stdout
    errors = done.stderr.splitlines()
    assert len(errors) == 4
    for name, line in zip(("bomb.png", "text.jpg", "truncated.png", "zero.png"), errors, strict=True):
        assert line.startswith(f"error: picture 3/{name}: expected ")


def wrong_inputs(folder: Path, model: Path) -> None:
    """What a user can get wrong, as files."""
    (folder / "text.pth").write_text("not a checkpoint")
    torch.save({"weight": torch.zeros(3)}, folder / "other.pth")
    (folder / "empty").mkdir()
    content = bytearray(model.read_bytes())
    (folder / "short.alula").write_bytes(content[:-1])
    content[len(content) // 2] ^= 1
    (folder / "damaged.alula").write_bytes(content)
    (folder / "zero.alula").touch()
    Image.fromarray(noise(8, 8)).save(folder / "picture.png")


WRONG = [
    ("export volo_d1 --checkpoint text.pth -o new", "error: checkpoint text.pth: expected "),
    ("export volo_digits --checkpoint other.pth -o new", "error: checkpoint other.pth: expected the 102 entries"),
    ("export volo_d7 -o new", "error: model: expected one of volo_d1, "),
    ("export volo_digits -o nowhere/new", "error: writing nowhere/new: expected an existing folder"),
    (
        "build other.pth -o new",
        "error: model other.pth: expected an exported program (.pt2) or TorchScript (.pt), got a checkpoint",
    ),
    (
        "build picture.png -o new",
        "error: model picture.png: expected an exported program (.pt2) or TorchScript (.pt), got another kind",
    ),
    ("build PT2 -o empty", "error: writing empty: expected a file, got a folder"),
    ("build PT2 -o new --target mips", "error: target: expected one of avx2, "),
    ("build PT2 -o new --precision int3", "error: precision: expected one of force_float32, "),
    ("build PT2 -o new --batch-size 513", "error: batch size: expected 1..512, as the model was exported, got 513"),
    ("eval MODEL --image-dir empty", "error: image folder empty: expected pictures, got none"),
    ("eval MODEL --image-dir none", "error: image folder none: expected a folder, got nothing"),
    ("infer MODEL --image-dir . --output-dir picture.png", "error: output folder picture.png: expected a folder"),
    ("perf MODEL --batch-size 600", "error: batch size: expected 1 to 512 for this model file, got 600"),
    ("inspect damaged.alula", "error: model file damaged.alula: section "),
    ("perf damaged.alula", "error: model file damaged.alula: section "),
    ("perf short.alula", "error: model file short.alula: file length at 24: expected "),
    ("eval zero.alula --image-dir .", "error: model file zero.alula: prologue at 0: expected 64 bytes, got 0"),
    ("inspect picture.png", "error: model file picture.png: magic at 0: expected "),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_wrong_input_is_one_line_and_2(
    pt2: Path,
    model: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    words: str,
    message: str,
) -> None:
    wrong_inputs(tmp_path, model)
    monkeypatch.chdir(tmp_path)
    before = sorted(tmp_path.iterdir())
    places = {"PT2": str(pt2), "MODEL": str(model)}
    assert main([places.get(word, word) for word in words.split()]) == 2
    shown = capfd.readouterr()
    assert shown.err.startswith(message)
    assert shown.err.count("\n") == 1
    assert "Traceback" not in shown.err
    assert sorted(tmp_path.iterdir()) == before


def test_wrong_input_to_a_real_process(model: Path, pt2: Path, tmp_path: Path) -> None:
    """The same in processes of their own, one of each kind: nothing that only the entry point does is missing."""
    wrong_inputs(tmp_path, model)
    for words in (
        ["perf", "damaged.alula"],
        ["eval", model, "--image-dir", "empty"],
        ["build", "other.pth", "-o", "new"],
        ["infer", model],
    ):
        done = alula_process(*words, folder=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith("error: ")
        assert done.stderr.count("\n") == 1


def test_model_files_are_replaced_whole_or_not_at_all(pt2: Path, tmp_path: Path) -> None:
    """A disk that is full when the model is written: the older file stays, nothing else is left."""
    target = tmp_path / "m.alula"
    target.write_bytes(OLD)
    limited = "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000)); "
    limited += "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limited += "from alula.cli.main import main; sys.exit(main(sys.argv[1:]))"
    words = [sys.executable, "-c", limited, "build", str(pt2), "-o", str(target)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode != 0
    assert done.stderr.startswith(f"error: writing {target}: expected a writable place, got ")
    assert done.stderr.count("\n") == 1
    assert target.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [target]


@pytest.mark.parametrize("after_s", [1.0, 3.0])
def test_interrupted_build_leaves_what_was_there(pt2: Path, tmp_path: Path, after_s: float) -> None:
    target = tmp_path / "m.alula"
    target.write_bytes(OLD)
    words = [sys.executable, "-m", "alula", "build", str(pt2), "-o", str(target)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        time.sleep(after_s)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    # Interrupted inside torch's own C++ calls of Python, the interpreter ends itself by the signal: 130 in a shell too.
    assert process.returncode in (130, -signal.SIGINT)
    assert errors == "interrupted\n"
    assert target.read_bytes() == OLD
    assert list(tmp_path.iterdir()) == [target]
