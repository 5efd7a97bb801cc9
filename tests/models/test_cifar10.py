"""The CIFAR-10 model: what it gets right on files it never saw, its reader, and how it was trained."""

import importlib.util
import io
import sys
import zipfile
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import alula
from alula.core.errors import ImageError
from alula.models import cifar10
from alula.models.checkpoints import packaged_checkpoint
from alula.vision.folder import Picture
from alula.vision.stream import prepare

STEP = 20  # of the real test pictures, every so many


@pytest.fixture
def checkpoint():
    """The trained weights; skips the test where they have not been made."""
    if not (files("alula.models") / "data" / cifar10.WEIGHTS).is_file():
        pytest.skip("needs the trained checkpoint, which training/train_cifar.py writes and which is not here")
    return packaged_checkpoint(cifar10.WEIGHTS)


def jpeg(generator: np.random.Generator, side: int = 32) -> bytes:
    file = io.BytesIO()
    Image.fromarray(generator.integers(0, 256, (side, side, 3), np.uint8)).save(file, "JPEG")
    return file.getvalue()


@pytest.fixture
def archive(tmp_path) -> Path:
    """Three pictures of each class to train on and two to test on, in an order that is none."""
    generator, path = np.random.default_rng(0), tmp_path / "cifar10.zip"
    with zipfile.ZipFile(path, "w") as opened:
        for kind in reversed(cifar10.CLASS_NAMES):
            for part, count in (("train", 3), ("test", 2)):
                for number in reversed(range(count)):
                    opened.writestr(f"{part}/{kind}/{number}.jpg", jpeg(generator))
    return path


@pytest.fixture(scope="module")
def training():
    path = Path(__file__).parents[2] / "training" / "train_cifar.py"
    spec = importlib.util.spec_from_file_location("train_cifar", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["train_cifar"] = module  # its dataclasses look themselves up
    spec.loader.exec_module(module)
    yield module
    del sys.modules["train_cifar"]


# Of these 500; of all 10,000 the checkpoint has 8,434 right in PyTorch, as training it said.
RIGHT = 450


def test_real_test_pictures(checkpoint, shared_file, tmp_path):
    data = cifar10.read_cifar10(shared_file("cifar10_test.zip"), "test", STEP)
    assert np.array_equal(data.labels, np.repeat(np.arange(10), 50))
    module, path = cifar10.volo_cifar10(), tmp_path / "m.alula"
    config = alula.BuildConfig(preprocess=cifar10.PREPROCESS)
    alula.build(alula.from_torch(module, (torch.zeros(1, 3, 64, 64),)), config).save(path)
    pixels = np.stack([np.asarray(Image.fromarray(picture).resize((64, 64))) for picture in data.pixels])
    with alula.load(path) as session:
        ours = np.concatenate([session.run(part)[0] for part in np.split(pixels, 10)])
    images = (pixels.astype(np.float32) / 255 - np.float32(cifar10.PREPROCESS.mean)) / np.float32(
        cifar10.PREPROCESS.std
    )
    with torch.inference_mode():
        theirs = module(torch.from_numpy(images).permute(0, 3, 1, 2)).numpy()
    assert np.abs(ours - theirs).max() <= 1e-4 * np.abs(theirs).max()
    assert np.array_equal(ours.argmax(1), theirs.argmax(1))
    correct = int((theirs.argmax(1) == data.labels).sum())
    assert correct == RIGHT


def test_reader_orders_by_class_and_name(archive, tmp_path):
    train = cifar10.read_cifar10(archive, "train")
    assert train.names == tuple(f"{kind}/{number}.jpg" for kind in sorted(cifar10.CLASS_NAMES) for number in range(3))
    assert train.labels.tolist() == [label for label in range(10) for _ in range(3)]
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "unpacked")
        for name, pixels in zip(train.names, train.pixels, strict=True):
            with opened.open(f"train/{name}") as file:
                assert np.array_equal(np.asarray(Image.open(file).convert("RGB")), pixels)
    unpacked = cifar10.read_cifar10(tmp_path / "unpacked", "train")
    assert unpacked.names == train.names
    assert np.array_equal(unpacked.pixels, train.pixels)
    some = tuple(f"{kind}/{number}.jpg" for kind in cifar10.CLASS_NAMES for number in (0, 2))
    assert cifar10.read_cifar10(archive, "train", 2).names == some
    assert len(cifar10.read_cifar10(archive, "test").labels) == 20


def test_reader_refuses(tmp_path):
    with pytest.raises(ImageError, match=r"nothing\.zip: expected a folder or a zip of pictures, got .*No such file"):
        cifar10.read_cifar10(tmp_path / "nothing.zip", "test")
    (tmp_path / "text.zip").write_text("text")
    with pytest.raises(ImageError, match=r"text\.zip: expected a folder or a zip of pictures, got File is not a zip"):
        cifar10.read_cifar10(tmp_path / "text.zip", "test")
    with pytest.raises(ImageError, match="expected pictures in test/airplane, got none"):
        cifar10.read_cifar10(tmp_path, "test")
    (tmp_path / "test" / "airplane").mkdir(parents=True)
    (tmp_path / "test" / "airplane" / "large.jpg").write_bytes(jpeg(np.random.default_rng(0), 33))
    with pytest.raises(ImageError, match=r"airplane/large\.jpg: expected 32x32 pixels, got 33x33"):
        cifar10.read_cifar10(tmp_path, "test")
    (tmp_path / "test" / "airplane" / "large.jpg").write_bytes(b"none")
    with pytest.raises(ImageError, match=r"CIFAR-10 airplane/large\.jpg: expected a picture, got"):
        cifar10.read_cifar10(tmp_path, "test")


def test_training_sees_the_pixels_that_files_give(training, archive, tmp_path):
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path)
    train = cifar10.read_cifar10(archive, "train")
    enlarged = training.enlarged(train).pixels.permute(0, 2, 3, 1).numpy()
    for name, pixels in zip(train.names, enlarged, strict=True):
        assert np.array_equal(prepare(Picture(name, tmp_path / "train" / name), cifar10.PREPROCESS), pixels)


def test_moved_pictures_are_whole(training):
    """Each is one of the shifts of the picture or of its mirror image."""
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (16, 3, 64, 64), dtype=torch.uint8, generator=generator)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        moved = training.moved(pixels)
    seen = set()
    for before, after in zip(pixels, moved, strict=True):
        bordered = {
            flip: torch.from_numpy(
                np.pad(np.flip(before.numpy(), 2) if flip else before.numpy(), ((0, 0), (8, 8), (8, 8)), "symmetric")
            )
            for flip in (False, True)
        }
        places = [
            (flip, row, column)
            for flip, picture in bordered.items()
            for row in range(0, 17, 2)
            for column in range(0, 17, 2)
            if torch.equal(picture[:, row : row + 64, column : column + 64], after)
        ]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 12


def test_mixed_pictures_are_of_two_and_labels_say_how_much(training):
    count = 200
    shades = torch.arange(count, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 64, 64)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        mixed = training.mixed(training.Pictures(shades, torch.arange(count) % 10))
    cut = 0
    for own, (pixels, shares) in enumerate(zip(mixed.pixels, mixed.labels, strict=True)):
        other = next((shade for shade in pixels.unique().tolist() if shade != own), own)
        box = pixels[0] == other
        part = box.float().mean().item() if other != own else 0.0
        expected = torch.zeros(10)
        expected[own % 10] += 1 - part
        expected[other % 10] += part
        assert torch.allclose(shares, expected, atol=1e-6)
        assert torch.equal(pixels, torch.where(box, other, own).to(torch.uint8).expand(3, -1, -1))
        if other != own:
            rows, columns = box.any(1), box.any(0)
            assert torch.equal(box, rows[:, None] & columns)  # one box
            cut += 1
    assert 0.4 < cut / count < 0.6


def test_rate_starts_stays_and_ends(training):
    rates = [training.rate_at(done, 10) for done in (0.0, 0.5, 1.0, 6.0, 8.0, 10.0)]
    assert rates == pytest.approx([training.LEARNING_RATE * share for share in (0, 0.5, 1, 1, 0.5, 0)])


def test_a_resumed_run_is_the_run(training, archive, tmp_path, monkeypatch):
    """Stopped within its second pass, and going on from what was kept then."""
    small = {"outlookers": 1, "transformers": (1,), "widths": (16, 32), "heads": (2, 4), "stem_width": 8}
    monkeypatch.setattr(training, "CIFAR10", replace(cifar10.CIFAR10, **small))
    monkeypatch.setattr(training, "BATCH", 8)
    monkeypatch.setattr(training, "SAVE_S", 0.0)
    data = training.enlarged(cifar10.read_cifar10(archive, "train"))
    state, kept = tmp_path / "state", []
    whole, rest = (training.Run(epochs=2, seed=0) for _ in range(2))
    save = whole.save
    monkeypatch.setattr(whole, "save", lambda path: (save(path), kept.append(path.read_bytes())))
    training.train(whole, data, data, state)
    state.write_bytes(next(content for content in kept if torch.load(io.BytesIO(content))["steps"] == 4))
    rest.restore(state)
    training.train(rest, data, data, None)
    assert whole.steps == rest.steps == 6
    for name, tensor in whole.averaged.module.state_dict().items():
        assert torch.equal(tensor, rest.averaged.module.state_dict()[name]), name


def test_checkpoint_is_small_and_plain(checkpoint):
    path = files("alula.models") / "data" / cifar10.WEIGHTS
    assert len(path.read_bytes()) <= 12_000_000
    assert (checkpoint.num_classes, checkpoint.image_size(cifar10.CIFAR10.patch_size)) == (10, 64)
