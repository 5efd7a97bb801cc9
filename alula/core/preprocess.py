"""The preprocessing contract: how a picture becomes a model's input, kept in the model file and used everywhere."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from math import isfinite
from typing import Any, ClassVar, Literal, get_args

from alula.core.errors import UsageError

Resampling = Literal["nearest", "bilinear", "bicubic", "lanczos"]
Library = Literal["pillow", "opencv"]
Order = Literal["RGB", "BGR"]

NAMED = ("volo", "volo-opencv", "imagenet")


@dataclass(frozen=True, slots=True)
class Preprocess:
    """Picture -> uint8[crop, crop, 3] -> (x / 255 - mean) / std, channel by channel.

    The picture's shorter side is resized to `resize` pixels (0: not resized), the centre `crop` square is taken, its
    channels are put in `order`.  Where the resized picture is smaller than the crop, the square's border is black, as
    torchvision's CenterCrop has it.  `library` names whose resampling is meant: Pillow antialiases when it shrinks
    (`antialias`), OpenCV never does, so `opencv` goes with `antialias=False` only and has no `lanczos` that we know.
    With `folded` the model file takes uint8 NHWC and normalises inside.  Raises UsageError for fields that cannot be.
    """

    crop: int
    resize: int
    resampling: Resampling = "bicubic"
    antialias: bool = True
    library: Library = "pillow"
    order: Order = "RGB"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    folded: bool = True

    CHANNELS: ClassVar[int] = 3
    MAX_SIDE: ClassVar[int] = 16384

    def __post_init__(self) -> None:
        for name, choices in (("resampling", Resampling), ("library", Library), ("order", Order)):
            if getattr(self, name) not in get_args(choices):
                raise UsageError(f"preprocess {name}: expected one of {get_args(choices)}, got {getattr(self, name)!r}")
        for name, least in (("crop", 1), ("resize", 0)):
            side = getattr(self, name)
            if type(side) is not int or not least <= side <= self.MAX_SIDE:
                raise UsageError(f"preprocess {name}: expected {least} to {self.MAX_SIDE} pixels, got {side!r}")
        for name in ("antialias", "folded"):
            if type(getattr(self, name)) is not bool:
                raise UsageError(f"preprocess {name}: expected true or false, got {getattr(self, name)!r}")
        if self.library == "opencv" and (self.antialias or self.resampling == "lanczos"):
            raise UsageError("preprocess library opencv: expected antialias false and no lanczos, got another")
        if len(self.mean) != self.CHANNELS or len(self.std) != self.CHANNELS or min(self.std) <= 0:
            raise UsageError(f"preprocess: expected 3 means and 3 positive stds, got {self.mean} and {self.std}")
        if not all(isfinite(number) for number in (*self.mean, *self.std)):
            raise UsageError(f"preprocess: expected finite means and stds, got {self.mean} and {self.std}")

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready dict; `from_json` takes it back."""
        return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(self).items()}

    @classmethod
    def from_json(cls, data: object) -> Preprocess:
        """The contract a JSON object describes.  Raises UsageError for a key, type or value that it cannot hold."""
        if not isinstance(data, dict):
            raise UsageError(f"preprocess: expected a JSON object, got {type(data).__name__}")
        known = {field.name for field in fields(cls)}
        if unknown := sorted(set(data) - known):
            raise UsageError(f"preprocess: expected keys among {sorted(known)}, got {unknown}")
        values: dict[str, Any] = {
            key: tuple(value) if isinstance(value, list) else value for key, value in data.items()
        }
        try:
            return cls(**values)
        except (TypeError, OverflowError) as error:
            raise UsageError(f"preprocess: {error}") from None


def imagenet(size: int, crop_fraction: float, resampling: Resampling = "bicubic") -> Preprocess:
    """The usual ImageNet evaluation: shorter side floor(size / crop_fraction), centre crop, RGB, ImageNet mean and std.

    VOLO's release evaluates D1 to D3 with 0.96 at every size, D4 and D5 with 1.15: a shorter side below the crop, and
    so a black border (`default_cfgs` and `validate.py` of https://github.com/sail-sg/volo).
    """
    return Preprocess(crop=size, resize=int(size / crop_fraction), resampling=resampling)


def named_preprocess(name: str, size: int) -> Preprocess:
    """One of NAMED, at `size` pixels; else UsageError.

    `volo`: crop fraction 0.96, for D1 to D3; `volo-opencv`: the same by OpenCV, as MagicMind's sample has
    it; `imagenet`: crop fraction 0.875.
    """
    match name:
        case "volo":
            return imagenet(size, 0.96)
        case "volo-opencv":
            return replace(imagenet(size, 0.96), library="opencv", antialias=False)
        case "imagenet":
            return imagenet(size, 0.875)
    raise UsageError(f"preprocess: expected {', '.join(NAMED)} or a JSON file, got {name!r}")
