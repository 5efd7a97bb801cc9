"""Pictures to test with, made by Pillow."""

from pathlib import Path

import numpy as np
from PIL import Image


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    """uint8[height, width, 3] with smooth areas and edges, so that resampling has something to do."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3)).astype(np.uint8)
    large = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return np.clip(large + random.integers(-20, 21, large.shape), 0, 255).astype(np.uint8)


def save(path: Path, pixels: np.ndarray, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return path


def save_plain(path: Path, level: int, side: int = 16) -> Path:
    """A grey picture of one level, lossless."""
    return save(path, np.full((side, side, 3), level, np.uint8))
