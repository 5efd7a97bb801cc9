import contextlib
import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from alula.core.errors import ImageError
from alula.vision.decode import decode
from tests.vision.pictures import noise, save


def pillow_rgb(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".webp", ".ppm", ".gif", ".jpg", ".jp2"])
def test_colour_formats(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", noise(20, 31))
    pixels = decode(path)
    assert pixels.dtype == np.uint8
    assert pixels.shape == (20, 31, 3)
    np.testing.assert_array_equal(pixels, pillow_rgb(path))


@pytest.mark.parametrize(
    ("mode", "suffix"), [("L", ".png"), ("1", ".png"), ("LA", ".png"), ("CMYK", ".jpg"), ("YCbCr", ".tif")]
)
def test_modes_as_pillow_converts_them(tmp_path: Path, mode: str, suffix: str) -> None:
    path = tmp_path / f"a{suffix}"
    Image.fromarray(noise(20, 31)).convert(mode).save(path)
    assert Image.open(path).mode == mode
    np.testing.assert_array_equal(decode(path), pillow_rgb(path))


def test_grey_is_three_equal_channels(tmp_path: Path) -> None:
    grey = noise(9, 7)[..., 0]
    path = save(tmp_path / "a.png", grey)
    np.testing.assert_array_equal(decode(path), np.stack([grey] * 3, axis=-1))


def test_alpha_is_dropped_and_the_colour_under_it_stays(tmp_path: Path) -> None:
    colours = noise(8, 8)
    path = save(tmp_path / "a.png", np.dstack([colours, np.zeros((8, 8), np.uint8)]))
    np.testing.assert_array_equal(decode(path), colours)


@pytest.mark.parametrize("transparency", [None, 1, bytes([255, 0, 128])])
def test_palette_gives_the_palette_colours(
    tmp_path: Path, transparency: int | bytes | None, recwarn: pytest.WarningsRecorder
) -> None:
    indices = np.arange(12, dtype=np.uint8).reshape(3, 4) % 3
    palette = np.array([[10, 20, 30], [200, 100, 50], [7, 250, 99]], np.uint8)
    image = Image.fromarray(indices, mode=None).convert("P")
    image.putdata(indices.ravel().tolist())
    image.putpalette(palette.tobytes())
    options = {} if transparency is None else {"transparency": transparency}
    image.save(tmp_path / "a.png", **options)
    assert Image.open(tmp_path / "a.png").mode == "P"
    recwarn.clear()
    np.testing.assert_array_equal(decode(tmp_path / "a.png"), palette[indices])
    assert not [warning for warning in recwarn if "alula" in warning.filename or "PIL" in warning.filename]


@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_sixteen_bit_grey_keeps_the_high_byte(tmp_path: Path, suffix: str) -> None:
    values = np.array([[0, 255, 256, 32767], [32768, 65279, 65280, 65535]], np.uint16)
    path = save(tmp_path / f"a{suffix}", values)
    assert Image.open(path).mode == "I;16"
    np.testing.assert_array_equal(decode(path)[..., 1], [[0, 0, 1, 127], [128, 254, 255, 255]])


def test_sixteen_bit_grey_equals_sixteen_bit_colour(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 65536, (5, 6)).astype(np.uint16)
    colour = tmp_path / "colour.png"
    colour.write_bytes(png16_rgb(np.stack([values] * 3, axis=-1)))
    np.testing.assert_array_equal(decode(save(tmp_path / "grey.png", values)), decode(colour))


def test_sixteen_bit_pgm(tmp_path: Path) -> None:
    (tmp_path / "a.pgm").write_bytes(b"P5 2 1 65535\n" + struct.pack(">2H", 0x1234, 0xFFFF))
    np.testing.assert_array_equal(decode(tmp_path / "a.pgm")[..., 0], [[0x12, 0xFF]])


def test_floats_and_wide_integers_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "f.tif")
    with pytest.raises(ImageError, match=r"picture .*f\.tif: expected 8 or 16 bits per channel, got float32"):
        decode(tmp_path / "f.tif")
    Image.fromarray(np.full((4, 4), 70000, np.int32)).save(tmp_path / "i.tif")
    with pytest.raises(ImageError, match=r"expected 8 or 16 bits per channel, got values 70000 to 70000"):
        decode(tmp_path / "i.tif")


# EXIF 2.3, tag 0x0112: how the stored rows and columns have to be moved to be upright.
UPRIGHT = {
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.swapaxes(0, 1),
    6: lambda x: x.swapaxes(0, 1)[:, ::-1],
    7: lambda x: x[::-1, ::-1].swapaxes(0, 1),
    8: lambda x: x.swapaxes(0, 1)[::-1],
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_exif_orientation(tmp_path: Path, orientation: int) -> None:
    stored = noise(6, 10)
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = save(tmp_path / "a.png", stored, exif=exif)
    np.testing.assert_array_equal(decode(path), UPRIGHT[orientation](stored))
    np.testing.assert_array_equal(decode(path), np.asarray(ImageOps.exif_transpose(Image.open(path))))


def test_damaged_exif_leaves_the_picture_readable(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010F] = "maker"
    maker, width = b"\x01\x0f\x00\x02", b"\x01\x00\x00\x02"  # tag and type: the width becomes a text
    assert maker in exif.tobytes()
    path = save(tmp_path / "a.jpg", noise(6, 10), exif=exif.tobytes().replace(maker, width))
    assert decode(path).shape == (10, 6, 3)


def test_animation_gives_its_first_frame(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(decode(tmp_path / "a.gif")[0, 0], [255, 0, 0])


def test_wrong_suffix_does_not_matter(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", noise(8, 8)).rename(tmp_path / "a.JPEG")
    np.testing.assert_array_equal(decode(path), noise(8, 8))


def truncated(path: Path) -> None:
    save(path, noise(64, 64))
    path.write_bytes(path.read_bytes()[:-200])


BROKEN = {
    "empty": (lambda path: path.write_bytes(b""), "expected a picture, got an empty file"),
    "text": (lambda path: path.write_text("not a picture"), "expected one of JPEG, .*, got another file"),
    "missing": (lambda path: None, "expected a readable picture, got No such file or directory"),
    "folder": (lambda path: path.mkdir(), "expected a readable picture, got Is a directory"),
    "truncated": (truncated, "expected a readable picture, got .*truncated"),
    "postscript": (lambda path: Image.new("RGB", (4, 4)).save(path, "EPS"), ".*got another file"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_broken_files_are_one_line_that_names_the_file(tmp_path: Path, kind: str) -> None:
    make, message = BROKEN[kind]
    path = tmp_path / f"{kind}.jpg"
    make(path)
    with pytest.raises(ImageError, match=rf"^picture sub/{kind}: {message}") as caught:
        decode(path, f"sub/{kind}")
    assert "\n" not in str(caught.value)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("factor", [1.5, 3])  # Pillow warns of the one and refuses the other
def test_decompression_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    path = save(tmp_path / "a.png", noise(30, 40))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", int(1200 / factor))
    with pytest.raises(ImageError, match=r"picture .*a\.png: expected .*pixels"):
        decode(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    assert decode(path).shape == (30, 40, 3)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_random_damage_only_raises(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    good = 0
    for suffix in (".jpg", ".png", ".gif", ".tif", ".webp"):
        content = save(tmp_path / f"whole{suffix}", noise(24, 24)).read_bytes()
        for _ in range(60):
            damaged = bytearray(content)
            for spot in random.integers(0, len(content), 6):
                damaged[spot] = random.integers(0, 256)
            (tmp_path / "damaged").write_bytes(damaged)
            with contextlib.suppress(ImageError):
                good += decode(tmp_path / "damaged").shape[2] == 3
    assert good > 0


def png16_rgb(values: np.ndarray) -> bytes:
    """A 16-bit colour PNG, which Pillow reads but does not write (PNG specification, sections 11.2 and 9)."""
    height, width, _ = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    out = io.BytesIO(b"\x89PNG\r\n\x1a\n")
    out.seek(0, io.SEEK_END)
    header = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 0)
    for kind, body in ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")):
        out.write(struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)))
    return out.getvalue()
