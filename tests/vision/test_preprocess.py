import json

import numpy as np
import pytest
import torch
from PIL import Image

from alula.core.errors import ImageError, UsageError
from alula.core.preprocess import Preprocess, imagenet, named_preprocess
from alula.vision.preprocess import preprocessed
from tests.vision.pictures import noise

VOLO = named_preprocess("volo", 224)


def test_published_evaluations() -> None:
    assert (VOLO.resize, VOLO.crop, VOLO.resampling, VOLO.order) == (233, 224, "bicubic", "RGB")
    assert (imagenet(448, 1.15).resize, imagenet(224, 0.875).resize) == (389, 256)
    by_opencv = named_preprocess("volo-opencv", 224)
    assert (by_opencv.resize, by_opencv.crop, by_opencv.resampling) == (233, 224, "bicubic")
    assert (by_opencv.library, by_opencv.antialias) == ("opencv", False)


# Resized sizes and margins worked out by hand: 233 * 500 / 375 = 310.67; half of 9 is 4.5, rounded to the even 4.
PLACES = {(375, 500): ((233, 310), (4, 43)), (500, 375): ((310, 233), (43, 4)), (80, 101): ((233, 294), (4, 35))}


@pytest.mark.parametrize("size", PLACES)
@pytest.mark.parametrize("resampling", ["nearest", "bilinear", "bicubic", "lanczos"])
def test_equals_pillow_called_directly(resampling: str, size: tuple[int, int]) -> None:
    (height, width), (top, left) = PLACES[size]
    resized = Image.fromarray(noise(*size)).resize((width, height), getattr(Image.Resampling, resampling.upper()))
    got = preprocessed(noise(*size), Preprocess(crop=224, resize=233, resampling=resampling))
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, np.asarray(resized.crop((left, top, left + 224, top + 224))))


def test_crop_without_resize() -> None:
    pixels = noise(227, 230)
    contract = Preprocess(crop=224, resize=0)
    np.testing.assert_array_equal(preprocessed(pixels, contract), pixels[2:226, 3:227])
    sliced = Preprocess(crop=224, resize=0, library="opencv", antialias=False)
    np.testing.assert_array_equal(preprocessed(pixels, sliced), pixels[1:225, 3:227])


def test_crop_larger_than_the_picture_gets_a_black_border() -> None:
    contract = Preprocess(crop=10, resize=7, resampling="nearest")
    pixels = noise(7, 14) // 2 + 100
    square = preprocessed(pixels, contract)
    np.testing.assert_array_equal(square[1:8], pixels[:, 2:12])
    assert square[:1].max() == square[8:].max() == 0


def test_black_border_is_where_torch_pads() -> None:
    pixels = noise(7, 5)
    # torchvision's CenterCrop pads (crop - size) // 2 before and (crop - size + 1) // 2 after.
    padded = torch.nn.functional.pad(torch.from_numpy(pixels).permute(2, 0, 1), (2, 3, 1, 2))
    square = preprocessed(pixels, Preprocess(crop=10, resize=0))
    np.testing.assert_array_equal(square, padded.permute(1, 2, 0).numpy())


def test_unfolded_is_normalised_nchw_as_torch_computes_it() -> None:
    pixels = noise(224, 224)
    contract = Preprocess(crop=224, resize=0, mean=(0.4, 0.5, 0.6), std=(0.1, 0.2, 0.3), folded=False)
    tensor = torch.from_numpy(pixels).permute(2, 0, 1).to(torch.float32).div(255)
    expected = (tensor - torch.tensor(contract.mean)[:, None, None]) / torch.tensor(contract.std)[:, None, None]
    got = preprocessed(pixels, contract)
    assert (got.dtype, got.shape, got.flags.c_contiguous) == (np.float32, (3, 224, 224), True)
    np.testing.assert_array_equal(got, expected.numpy())


def test_bgr_turns_the_channels_where_the_model_does_not() -> None:
    pixels, plain = noise(8, 8), {"crop": 8, "resize": 0, "mean": (0.0, 0.0, 0.0), "std": (1.0, 1.0, 1.0)}
    outside = preprocessed(pixels, Preprocess(**plain, order="BGR", folded=False))
    np.testing.assert_array_equal(np.rint(outside * 255), pixels[..., ::-1].transpose(2, 0, 1))
    inside = preprocessed(pixels, Preprocess(**plain, order="BGR"))
    np.testing.assert_array_equal(inside, pixels)
    assert inside.flags.c_contiguous


def test_endlessly_long_picture_is_refused() -> None:
    with pytest.raises(ImageError, match=r"expected at most .* pixels once resized, got 2330000x233"):
        preprocessed(noise(1, 10000), VOLO)


@pytest.mark.parametrize(
    "wrong",
    [
        {"crop": 0},
        {"crop": 2.5},
        {"crop": "8"},
        {"resize": -1},
        {"resize": 10**9},
        {"resampling": "area"},
        {"library": "opencv"},
        {"library": "opencv", "antialias": False, "resampling": "lanczos"},
        {"std": [0.1, 0.2, 0.0]},
        {"std": [0.1, 0.2]},
        {"mean": [0.1, 0.2, float("nan")]},
        {"mean": ["a", "b", "c"]},
        {"folded": 1},
        {"other": 1},
    ],
)
def test_contracts_that_cannot_be(wrong: dict[str, object]) -> None:
    with pytest.raises(UsageError, match=r"^preprocess"):
        Preprocess.from_json({"crop": 8, "resize": 0, **wrong})


def test_json_round_trip() -> None:
    contract = Preprocess(crop=224, resize=233, library="opencv", antialias=False, order="BGR", folded=False)
    assert Preprocess.from_json(json.loads(json.dumps(contract.to_json()))) == contract
