import numpy as np
import pytest
import torch
from PIL import Image

from alula.core.preprocess import Preprocess
from alula.vision.preprocess import preprocessed
from alula.vision.resample import Span, resampled
from tests.vision.pictures import noise

SIZES = [((375, 500), (233, 310)), ((100, 80), (291, 233)), ((227, 227), (233, 233)), ((1, 3), (5, 15))]


def whole(pixels: np.ndarray, height: int, width: int, resampling: str, library: str) -> np.ndarray:
    rows = Span(pixels.shape[0], height, 0, height)
    columns = Span(pixels.shape[1], width, 0, width)
    return resampled(pixels, rows, columns, resampling, library)


@pytest.mark.parametrize(("size", "target"), SIZES)
@pytest.mark.parametrize("resampling", ["bicubic", "bilinear"])
def test_opencv_kernels_against_torch(size: tuple[int, int], target: tuple[int, int], resampling: str) -> None:
    """torch's bicubic has OpenCV's a = -0.75 and, without antialias, its pixel centres and edges."""
    pixels = noise(*size)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)[None].to(torch.float64)
    exact = torch.nn.functional.interpolate(tensor, target, mode=resampling, align_corners=False)[0].permute(1, 2, 0)
    expected = exact.round().clamp(0, 255).numpy().astype(int)
    got = whole(pixels, *target, resampling, "opencv").astype(int)
    difference = np.abs(got - expected)
    assert difference.max() <= 1  # where the exact value lies on a half
    assert (difference > 0).mean() < 1e-3


def test_opencv_bicubic_on_paper() -> None:
    """Halving centres each pixel between two: weights -3/32, 19/32, 19/32, -3/32 of Keys' kernel with a = -0.75."""
    line = np.array([10, 200, 30, 90, 250, 0, 60, 70], np.uint8)
    weights = np.array([-3, 19, 19, -3]) / 32
    padded = np.pad(line, 2, mode="edge").astype(float)
    expected = [padded[2 * i + 1 : 2 * i + 5] @ weights for i in range(4)]
    got = whole(np.repeat(line[None, :, None], 3, axis=2), 1, 4, "bicubic", "opencv")
    np.testing.assert_array_equal(got[0, :, 0], np.clip(np.floor(np.array(expected) + 0.5), 0, 255))


def test_opencv_nearest_takes_the_corner() -> None:
    pixels = noise(8, 8)
    np.testing.assert_array_equal(whole(pixels, 4, 4, "nearest", "opencv"), pixels[::2, ::2])


@pytest.mark.parametrize("resampling", ["bilinear", "bicubic", "lanczos"])
def test_pillow_kernels_equal_pillow_where_it_enlarges(resampling: str) -> None:
    """Enlarging, Pillow does not widen its kernels either; its weights have 22 bits, ours 53."""
    pixels = noise(80, 60)
    expected = Image.fromarray(pixels).resize((151, 200), getattr(Image.Resampling, resampling.upper()))
    difference = np.abs(whole(pixels, 200, 151, resampling, "pillow").astype(int) - np.asarray(expected))
    assert difference.max() <= 1
    assert (difference > 0).mean() < (0.06 if resampling == "bilinear" else 1e-3)  # linear weights often meet halves


def test_shrinking_without_antialias_is_another_picture() -> None:
    pixels = noise(400, 400)
    plain = Preprocess(crop=50, resize=50, antialias=False)
    smooth = Preprocess(crop=50, resize=50)
    assert np.abs(preprocessed(pixels, plain).astype(int) - preprocessed(pixels, smooth)).mean() > 2


@pytest.mark.parametrize("library", ["pillow", "opencv"])
def test_window_is_a_part_of_the_whole(library: str) -> None:
    pixels = noise(120, 160)
    part = preprocessed(pixels, Preprocess(crop=60, resize=90, antialias=False, library=library))
    np.testing.assert_array_equal(part, whole(pixels, 90, 120, "bicubic", library)[15:75, 30:90])
