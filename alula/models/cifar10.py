"""A small VOLO for the ten classes of CIFAR-10, and a reader of the dataset's pictures.

Data: Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009: 32x32 pixels, 50,000 pictures to train
on and 10,000 to test on, here as picture files in class folders.  Weights: training/train_cifar.py writes them.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alula.core.errors import ImageError
from alula.core.preprocess import Preprocess
from alula.models.checkpoints import load_weights, packaged_checkpoint
from alula.models.volo import Volo, VoloConfig

CIFAR10 = VoloConfig(
    outlookers=2,
    transformers=(4,),
    widths=(96, 192),
    heads=(3, 6),
    stem_width=32,
    patch_size=4,
    image_size=64,
    num_classes=10,
)
# Means and deviations of the training pixels; each picture is enlarged to twice its size before the model sees it.
PREPROCESS = Preprocess(crop=64, resize=64, mean=(0.4914, 0.4822, 0.4465), std=(0.2470, 0.2435, 0.2616))
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
WEIGHTS = "volo_cifar10.pth"
SIDE = 32  # of the dataset's pictures, in pixels

Part = Literal["train", "test"]


@dataclass(frozen=True, slots=True)
class Cifar10:
    """Pictures pixels[n,32,32,3] uint8 RGB, their labels[n] 0..9, and each one's name, `class/file`."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    names: tuple[str, ...]


def volo_cifar10() -> Volo:
    """The trained model in evaluation mode: logits f32[b,10] from images f32[b,3,64,64] normalised by `PREPROCESS`.

    Raises CheckpointError where its weights have not been trained yet.
    """
    model = Volo(CIFAR10).eval()
    load_weights(model, packaged_checkpoint(WEIGHTS))
    return model


def read_cifar10(source: Path, part: Part, step: int = 1) -> Cifar10:
    """The pictures `part/class/*` of a folder or a zip, by class and name; of each class every `step`-th.

    Raises ImageError for a source that is neither, a class without pictures, or a file that is no 32x32 picture.
    """
    if source.is_dir():
        return _read(source, source / part, step)
    try:
        with zipfile.ZipFile(source) as archive:
            return _read(source, zipfile.Path(archive, f"{part}/"), step)
    except (OSError, zipfile.BadZipFile) as error:
        raise ImageError(f"CIFAR-10 {source}: expected a folder or a zip of pictures, got {error}") from error


def _read(source: Path, root: Path | zipfile.Path, step: int) -> Cifar10:
    pixels, labels, names = [], [], []
    for label, kind in enumerate(CLASS_NAMES):
        folder = root / kind
        pictures: list[Path | zipfile.Path] = [*folder.iterdir()] if folder.is_dir() else []
        if not pictures:
            raise ImageError(f"CIFAR-10 {source}: expected pictures in {root.name}/{kind}, got none")
        for picture in sorted(pictures, key=lambda path: path.name)[::step]:
            names.append(f"{kind}/{picture.name}")
            pixels.append(_pixels(picture, names[-1]))
            labels.append(label)
    return Cifar10(np.stack(pixels), np.array(labels), tuple(names))


def _pixels(picture: Path | zipfile.Path, name: str) -> NDArray[np.uint8]:
    try:
        with picture.open("rb") as file, Image.open(file) as image:
            pixels = np.asarray(image.convert("RGB"))
    except OSError as error:
        raise ImageError(f"CIFAR-10 {name}: expected a picture, got {error}") from error
    if pixels.shape != (SIDE, SIDE, 3):
        raise ImageError(f"CIFAR-10 {name}: expected {SIDE}x{SIDE} pixels, got {pixels.shape[1]}x{pixels.shape[0]}")
    return pixels
