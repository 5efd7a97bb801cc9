"""A small VOLO that reads handwritten digits, with trained weights, and the pictures it was never trained on.

Data: the 1,797 digits of `sklearn.datasets.load_digits` (Alpaydin and Kaynak, "Optical Recognition of Handwritten
Digits", UCI, 1998): 8x8 pixels of 0..16.  Weights: training/train_digits.py.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alula.core.errors import AlulaError, UsageError
from alula.core.preprocess import Preprocess
from alula.models.checkpoints import load_weights, packaged_checkpoint
from alula.models.volo import Volo, VoloConfig

DIGITS = VoloConfig(
    outlookers=2,
    transformers=(1, 1),
    widths=(48, 96),
    heads=(3, 6),
    stem_width=24,
    patch_size=4,
    image_size=32,
    num_classes=10,
)
PREPROCESS = Preprocess(crop=32, resize=32, mean=(0.31, 0.31, 0.31), std=(0.35, 0.35, 0.35))  # of the training pixels
CLASS_NAMES = tuple("0123456789")
WEIGHTS = "volo_digits.pth"
BRIGHTEST = 16  # of the dataset's pixels
HELD_OUT_SHARE = 0.3

Part = Literal["train", "held-out"]


@dataclass(frozen=True, slots=True)
class Digits:
    """Pictures pixels[n,32,32,3] uint8 RGB, their labels[n] 0..9, and each one's place[n] in the dataset."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]
    places: NDArray[np.int64]


def volo_digits() -> Volo:
    """The trained model in evaluation mode: logits f32[b,10] from images f32[b,3,32,32] normalised by `PREPROCESS`."""
    model = Volo(DIGITS).eval()
    load_weights(model, packaged_checkpoint(WEIGHTS))
    return model


def load_digits(part: Part) -> Digits:
    """One side of the fixed split: of every class, the 30 % whose places hash lowest are held out of all training.

    Raises UsageError when scikit-learn is not installed.
    """
    data, labels = _dataset()
    chosen = np.array([place for place, held in enumerate(_held_out(labels)) if held == (part == "held-out")])
    pixels = np.stack([np.asarray(_picture(data[place])) for place in chosen])
    return Digits(pixels, labels[chosen], chosen)


def write_digits_images(folder: Path, part: Part = "held-out") -> int:
    """How many pictures of one side of the split were written, as `folder/<digit>/<place>.png`, 32x32 RGB.

    Raises AlulaError for a folder that cannot be written, UsageError when scikit-learn is not installed.
    """
    digits = load_digits(part)
    try:
        for pixels, label, place in zip(digits.pixels, digits.labels, digits.places, strict=True):
            path = folder / CLASS_NAMES[label] / f"{place:04d}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    except OSError as error:
        raise AlulaError(f"writing {folder}: expected a writable folder, got {error.strerror or error}") from error
    return len(digits.labels)


def _dataset() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    try:
        from sklearn.datasets import load_digits as load
    except ImportError:
        raise UsageError("digits: expected scikit-learn (pip install 'alula[demo]'), got no such package") from None
    bunch: Any = load()
    return bunch.images, bunch.target.astype(np.int64)


def _held_out(labels: NDArray[np.int64]) -> list[bool]:
    """Held out or not, place by place: by hash, so that no library's random numbers can ever move the split."""
    held = [False] * len(labels)
    for digit in range(len(CLASS_NAMES)):
        places = sorted(np.flatnonzero(labels == digit).tolist(), key=_place_hash)
        for place in places[: round(len(places) * HELD_OUT_SHARE)]:
            held[place] = True
    return held


def _place_hash(place: int) -> bytes:
    return hashlib.sha256(f"alula digits {place}".encode()).digest()


def _picture(pixels: NDArray[np.float64]) -> Image.Image:
    levels = np.rint(pixels * (255 / BRIGHTEST)).astype(np.uint8)
    side = PREPROCESS.crop
    return Image.fromarray(levels).resize((side, side), Image.Resampling.BICUBIC).convert("RGB")
