"""Labelled pictures as models take them, out of zips and packages."""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from alula.core.preprocess import Preprocess
from alula.vision.folder import list_pictures
from alula.vision.preprocess import cropped
from alula.vision.stream import prepare

LABEL_FILE = "labels.txt"


@dataclass(frozen=True, slots=True)
class Pictures:
    """pixels u8[n,s,s,3] RGB, cut and resized by a contract but not normalised, and their labels[n]."""

    pixels: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def every(self, step: int) -> Pictures:
        """One picture of `step`."""
        return Pictures(self.pixels[::step], self.labels[::step])

    def drawn(self, count: int, seed: int) -> NDArray[np.uint8]:
        """Pixels of `count` pictures, chosen by `seed`; of all where there are no more."""
        return self.pixels[np.random.default_rng(seed).permutation(len(self.pixels))[:count]]


def sized(pixels: NDArray[np.uint8], labels: NDArray[np.int64], contract: Preprocess) -> Pictures:
    """Decoded pictures u8[n,h,w,3] by the contract."""
    return Pictures(np.stack([cropped(picture, contract) for picture in pixels]), labels)


def zipped(archive: Path, contract: Preprocess) -> Pictures:
    """The pictures that a zip's labels.txt lists, in its order."""
    with _unpacked(archive) as folder:
        listed = list_pictures(folder, folder / LABEL_FILE)
        pixels = np.stack([prepare(picture, contract) for picture in listed])
    return Pictures(pixels.astype(np.uint8, copy=False), np.array([picture.label for picture in listed]))


@contextmanager
def _unpacked(archive: Path) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(archive) as opened:
        opened.extractall(folder)
        yield Path(folder)
