"""The preprocessing contract carried out: a decoded picture -> what a model takes of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from alula.core.errors import ImageError
from alula.core.preprocess import Preprocess
from alula.vision.resample import Pixels, Span, resampled

PILLOW = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}


@dataclass(frozen=True, slots=True)
class Side:
    """Along one side: `taken` pixels from `start` of the resized picture, with `before` black ones ahead of them."""

    start: int
    taken: int
    before: int


def preprocessed(picture: Pixels, contract: Preprocess) -> NDArray[np.uint8] | NDArray[np.float32]:
    """x[h, w, 3] RGB -> uint8[crop, crop, 3] RGB, or if not folded float32[3, crop, crop] normalised in `order`.

    A folded contract's order of channels, mean and std are the model's own business.
    Sizes as torchvision's Resize and CenterCrop: the longer side is cut to whole pixels, half an odd margin is rounded
    to the even neighbour (with `opencv` down, as slices are), a picture smaller than the crop gets a black border.
    Raises ImageError for a picture so long and thin that, resized, it has more than `PIL.Image.MAX_IMAGE_PIXELS`.
    """
    square = cropped(picture, contract)
    return np.ascontiguousarray(square) if contract.folded else normalised(square, contract)


def normalised(pixels: Pixels, contract: Preprocess) -> NDArray[np.float32]:
    """x[..., h, w, 3] RGB -> float32[..., 3, h, w] in the contract's order, mean and std."""
    ordered = pixels[..., ::-1] if contract.order == "BGR" else pixels
    scaled = ordered.astype(np.float32) / np.float32(255)
    mean, std = np.array(contract.mean, np.float32), np.array(contract.std, np.float32)
    normal: NDArray[np.float32] = (scaled - mean) / std
    return np.ascontiguousarray(np.moveaxis(normal, -1, -3))


def cropped(picture: Pixels, contract: Preprocess) -> Pixels:
    """x[h, w, 3] -> the resized picture's centre, uint8[crop, crop, 3]."""
    height, width = resized_size(picture.shape[0], picture.shape[1], contract.resize)
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and height * width > limit:
        raise ImageError(f"expected at most {limit} pixels once resized, got {width}x{height}")
    down, along = _side(height, contract), _side(width, contract)
    window = _window(picture, contract, (height, width), down, along)
    if window.shape[:2] == (contract.crop, contract.crop):
        return window
    square = np.zeros((contract.crop, contract.crop, Preprocess.CHANNELS), np.uint8)
    square[down.before :, along.before :][: down.taken, : along.taken] = window
    return square


def resized_size(height: int, width: int, shorter: int) -> tuple[int, int]:
    """Height and width once the shorter side has `shorter` pixels (0: as they are), the longer cut to whole ones."""
    if shorter == 0:
        return height, width
    least = min(height, width)
    return int(shorter * height / least), int(shorter * width / least)


def _side(length: int, contract: Preprocess) -> Side:
    margin = length - contract.crop
    if margin < 0:
        return Side(start=0, taken=length, before=-margin // 2)
    start = margin // 2 if contract.library == "opencv" else round(margin / 2)
    return Side(start, taken=contract.crop, before=0)


def _window(picture: Pixels, contract: Preprocess, size: tuple[int, int], down: Side, along: Side) -> Pixels:
    height, width = size
    by_pillow = contract.library == "pillow" and (contract.antialias or contract.resampling == "nearest")
    if size != picture.shape[:2] and not by_pillow:
        rows = Span(picture.shape[0], height, down.start, down.taken)
        columns = Span(picture.shape[1], width, along.start, along.taken)
        return resampled(picture, rows, columns, contract.resampling, contract.library)
    if size != picture.shape[:2]:
        picture = np.asarray(Image.fromarray(picture).resize((width, height), PILLOW[contract.resampling]))
    return picture[down.start : down.start + down.taken, along.start : along.start + along.taken]
