"""`alula export`: what the `.pt2` file holds, and what the user is told."""

import hashlib
import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import pytest
import torch

from alula.cli.main import main
from alula.core.preprocess import Preprocess, named_preprocess
from alula.frontends.torch.export import load_program
from alula.models import digits, zoo
from alula.models.volo import Volo

CONFIG = replace(zoo.ZOO["volo_d1"].config, outlookers=1, transformers=(1, 1, 1), widths=(24, 48), heads=(2, 4))


@pytest.fixture(autouse=True)
def small_volo_d1(monkeypatch) -> None:
    """volo_d1 with its 224 pixels and 1000 classes, but quick to export."""
    monkeypatch.setitem(zoo.ZOO, "volo_d1", replace(zoo.ZOO["volo_d1"], config=CONFIG))


def exported(path: Path) -> tuple[torch.nn.Module, Preprocess, dict]:
    program, extra = load_program(path)
    assert set(extra) == {"alula_preprocess.json", "alula_provenance.json"}
    contract = Preprocess.from_json(json.loads(extra["alula_preprocess.json"]))
    return program.module(), contract, json.loads(extra["alula_provenance.json"])


def same(one: torch.nn.Module, other: torch.nn.Module, size: int) -> bool:
    images = [torch.randn(batch, 3, size, size) for batch in (1, 3)]
    with torch.no_grad():
        return all(torch.equal(one(x), other(x)) for x in images)


def saved(path: Path, **changes: int) -> Volo:
    model = Volo(replace(CONFIG, **changes)).eval()
    torch.save({"state_dict": {f"module.{name}": tensor for name, tensor in model.state_dict().items()}}, path)
    return model


def test_digits(tmp_path, capsys):
    path = tmp_path / "digits.pt2"
    assert main(["export", "volo_digits", "-o", str(path)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{path}: volo_digits, 0.5 M parameters, 32 pixels, 10 classes, volo_digits.pth\n"
    assert said.err == ""
    module, contract, provenance = exported(path)
    assert same(module, digits.volo_digits(), 32)
    assert contract == digits.PREPROCESS
    weights = (files("alula.models") / "data" / "volo_digits.pth").read_bytes()
    assert provenance == {
        "model": "volo_digits",
        "image_size": 32,
        "num_classes": 10,
        "weights": "volo_digits.pth",
        "sha256": hashlib.sha256(weights).hexdigest(),
    }


def test_random_weights_are_seeded_and_admitted(tmp_path, capsys):
    paths = [tmp_path / "a.pt2", tmp_path / "b.pt2"]
    for seed, path in enumerate(paths):
        torch.manual_seed(seed)  # what the caller drew before makes no difference
        state = torch.random.get_rng_state()
        assert main(["export", "volo_d1", "--num-classes", "6", "-o", str(path)]) == 0
        assert torch.equal(torch.random.get_rng_state(), state)
    out = capsys.readouterr().out
    assert "note: volo_d1: random weights (seed 0), so its answers mean nothing" in out
    (one, contract, provenance), (other, *_) = map(exported, paths)
    assert same(one, other, 224)
    assert contract == named_preprocess("volo", 224)
    assert contract.resize == 233
    assert provenance["weights"] == "random weights, seed 0"


def test_checkpoint(tmp_path, capsys):
    model = saved(tmp_path / "d1_mine.pth.tar")
    path = tmp_path / "a.pt2"
    assert main(["export", "volo_d1", "--checkpoint", str(tmp_path / "d1_mine.pth.tar"), "-o", str(path)]) == 0
    assert "note:" not in capsys.readouterr().out
    module, _, provenance = exported(path)
    assert same(module, model, 224)
    assert provenance["weights"] == "d1_mine.pth.tar"
    assert provenance["sha256"] == hashlib.sha256((tmp_path / "d1_mine.pth.tar").read_bytes()).hexdigest()


def test_size_and_classes_are_the_checkpoints_own(tmp_path, capsys):
    model = saved(tmp_path / "a.pth", image_size=96, num_classes=4)
    path = tmp_path / "a.pt2"
    assert main(["export", "volo_d1", "--checkpoint", str(tmp_path / "a.pth"), "-o", str(path)]) == 0
    assert "96 pixels, 4 classes, a.pth" in capsys.readouterr().out
    module, contract, _ = exported(path)
    assert same(module, model, 96)
    assert contract == named_preprocess("volo", 96)


def test_another_size_and_class_count(tmp_path, capsys):
    saved(tmp_path / "a.pth")
    path = tmp_path / "a.pt2"
    words = ["--checkpoint", str(tmp_path / "a.pth"), "--image-size", "64", "--num-classes", "4", "-o", str(path)]
    assert main(["export", "volo_d1", *words]) == 0
    out = capsys.readouterr().out
    assert "note: a.pth: position embedding resized from 14x14 to 4x4\n" in out
    assert "note: a.pth: its heads for 1000 classes are dropped; those for 4 classes are random (seed 0)" in out
    module, _, provenance = exported(path)
    assert module(torch.zeros(3, 3, 64, 64)).shape == (3, 4)
    assert "its heads for 1000 classes are dropped" in provenance["changes"]


def test_default_output(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["export", "volo_digits"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["volo_digits.pt2"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["volo_d9"], f"model: expected one of {', '.join(zoo.ZOO)}, got 'volo_d9'"),
        (["volo_d1", "--image-size", "100"], "volo image size: expected a positive multiple of 16, got 100"),
        (["volo_d1", "--checkpoint", "none.pth"], "checkpoint none.pth: expected a readable file, got No such file"),
        (
            ["volo_d1", "--checkpoint", "junk.pth"],
            "checkpoint junk.pth: expected tensors saved by PyTorch, got a damaged",
        ),
        (["volo_d1", "--checkpoint", "resnet.pth"], "checkpoint resnet.pth: expected the "),
        (["volo_digits", "-o", "no/such/a.pt2"], "writing no/such/a.pt2: expected an existing folder, got no/such"),
    ],
)
def test_wrong_usage(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "junk.pth").write_bytes(b"junk")
    torch.save({"layer1.0.conv1.weight": torch.zeros(64, 64, 3, 3)}, "resnet.pth")
    assert main(["export", *words]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}")
    assert err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["junk.pth", "resnet.pth"]
