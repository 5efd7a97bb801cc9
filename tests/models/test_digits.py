"""The digits model: what it gets right on files it never saw, and that it truly never saw them."""

import hashlib
import importlib.util
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from alula.core.errors import AlulaError, UsageError
from alula.models import digits
from alula.models.checkpoints import packaged_checkpoint

pytest.importorskip("sklearn", reason="needs scikit-learn, the demo extra")


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("digits")
    assert digits.write_digits_images(path) == 539
    return path


def test_top_1_on_held_out_picture_files(folder):
    contract = digits.PREPROCESS
    paths = sorted(folder.glob("*/*.png"))
    pictures = [Image.open(path) for path in paths]
    assert {(picture.mode, picture.size) for picture in pictures} == {("RGB", (contract.crop, contract.crop))}
    pixels = np.stack([np.asarray(picture, dtype=np.float32) for picture in pictures])
    images = (pixels / 255 - contract.mean) / contract.std
    with torch.no_grad():
        logits = digits.volo_digits()(torch.from_numpy(images).float().permute(0, 3, 1, 2))
    labels = np.array([int(path.parent.name) for path in paths])
    correct = int((logits.argmax(1).numpy() == labels).sum())
    assert len(paths) == 539
    assert correct >= 534, f"{correct} of 539 right; the checkpoint that was committed has 536"


def test_files_are_the_held_out_pictures_in_their_class_folders(folder):
    held_out = digits.load_digits("held-out")
    for pixels, label, place in zip(held_out.pixels, held_out.labels, held_out.places, strict=True):
        assert np.array_equal(np.asarray(Image.open(folder / str(label) / f"{place:04d}.png")), pixels)


def test_split_is_stratified_disjoint_and_for_ever():
    train, held_out = digits.load_digits("train"), digits.load_digits("held-out")
    assert sorted([*train.places, *held_out.places]) == list(range(1797))
    shares = np.bincount(held_out.labels) / np.bincount([*train.labels, *held_out.labels])
    assert np.all(np.abs(shares - 0.3) < 0.01)
    digest = hashlib.sha256(",".join(map(str, held_out.places)).encode()).hexdigest()
    assert digest[:16] == "f9f4baf8b1e22cd9", "the committed weights were trained on another side of the split"


def test_pictures_look_like_the_data():
    from sklearn.datasets import load_digits

    train = digits.load_digits("train")
    back = train.pixels[:, :, :, 0].reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4)) * (16 / 255)
    assert np.abs(back - load_digits().images[train.places]).mean() < 1  # of 16 levels; the upscaling smooths


def training_script():
    path = Path(__file__).parents[2] / "training" / "train_digits.py"
    spec = importlib.util.spec_from_file_location("train_digits", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_training_reads_the_training_side_alone(monkeypatch):
    script, asked = training_script(), []

    def watched(part):
        asked.append(part)
        return digits.Digits(*(array[:64] for array in (real.pixels, real.labels, real.places)))

    real = digits.load_digits("train")
    monkeypatch.setattr(script, "load_digits", watched)
    with torch.random.fork_rng(devices=[]):
        model = script.train(epochs=2, seed=0)
    assert asked == ["train"]
    assert not model.training


def test_checkpoint_is_small_and_plain():
    path = files("alula.models") / "data" / digits.WEIGHTS
    assert len(path.read_bytes()) < 3_000_000
    assert packaged_checkpoint(digits.WEIGHTS).num_classes == 10


def test_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UsageError, match=r"expected scikit-learn \(pip install 'alula\[demo\]'\), got no such package"):
        digits.load_digits("train")


def test_unwritable_folder(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(AlulaError, match="expected a writable folder, got Not a directory"):
        digits.write_digits_images(tmp_path / "file")
