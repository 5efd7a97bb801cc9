"""Picture file -> uint8[h, w, 3] RGB, the way Pillow documents each kind of picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError

from alula.core.errors import ImageError

# Formats that hold photographs.  Pillow knows more, and hands some of them (EPS) to an external interpreter.
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "JPEG2000", "AVIF")
SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N", "I")  # Pillow opens a 16-bit PGM as `I`, with values up to 65,535
HIGH_BYTE = 8

# EXIF orientation -> what makes the picture upright, as ImageOps.exif_transpose, which also rewrites the EXIF block and
# so fails on pictures whose other tags are damaged.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode(path: Path, name: str | None = None) -> NDArray[np.uint8]:
    """The picture in a file as uint8[h, w, 3] RGB, upright.

    EXIF orientation is applied; an animation gives its first frame; grayscale, palette, CMYK and YCbCr are converted
    by Pillow; alpha is dropped, the colours under it stay; of 16-bit grey the high byte is kept, which is what Pillow
    keeps of 16-bit colour.  Errors call the file `name`.  Raises ImageError for a file that is missing, empty, no
    picture, truncated, of more than `PIL.Image.MAX_IMAGE_PIXELS` pixels, or of a kind without a conversion (float).
    """
    try:
        return np.asarray(_rgb(_opened(path)))
    except ImageError as error:
        raise ImageError(f"picture {name or path}: {error}") from None
    except UnidentifiedImageError as error:
        raise ImageError(f"picture {name or path}: expected one of {', '.join(FORMATS)}, got another file") from error
    except OSError as error:
        raise _refused(path, name, error.strerror or str(error)) from error
    except Exception as error:  # the format plugins raise whatever damaged bytes lead them to
        raise _refused(path, name, str(error) or type(error).__name__) from error


def _opened(path: Path) -> Image.Image:
    if path.stat().st_size == 0:
        raise ImageError("expected a picture, got an empty file")
    with Image.open(path, formats=FORMATS) as image:
        _check_size(image)
        image.load()
        turn = UPRIGHT.get(image.getexif().get(ExifTags.Base.Orientation, 1))
        return image if turn is None else image.transpose(turn)


def _check_size(image: Image.Image) -> None:
    """Pillow only warns of a decompression bomb up to twice its limit; catching warnings is unsafe in threads."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise ImageError(f"expected at most {limit} pixels, got {image.width}x{image.height}")


def _rgb(image: Image.Image) -> Image.Image:
    if image.mode in SIXTEEN_BITS:
        return Image.fromarray(_high_bytes(image)).convert("RGB")
    if image.mode == "F":
        raise ImageError("expected 8 or 16 bits per channel, got float32")
    if "transparency" in image.info:
        image = image.convert("RGBA")  # Pillow's documented way around palettes with transparency
    return image.convert("RGB")


def _high_bytes(image: Image.Image) -> NDArray[np.uint8]:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
        raise ImageError(f"expected 8 or 16 bits per channel, got values {values.min()} to {values.max()}")
    return (values >> HIGH_BYTE).astype(np.uint8)


def _refused(path: Path, name: str | None, reason: str) -> ImageError:
    return ImageError(f"picture {name or path}: expected a readable picture, got {' '.join(reason.split())}")
