"""What infer_cpp makes of a picture's pixels, beside what alula.vision makes of them: the same bytes."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from alula.core.preprocess import Preprocess, named_preprocess
from alula.vision.folder import Picture
from alula.vision.stream import prepare

SIZES = [(37, 53), (53, 37), (64, 64), (7, 90)]
SIDES = [(24, 25), (24, 20), (33, 0), (30, 61)]  # crop and resize: smaller, a black border, as it is, larger
KINDS = [
    *(
        ("pillow", filter, antialias)
        for filter in ("nearest", "bilinear", "bicubic", "lanczos")
        for antialias in (1, 0)
    ),
    *(("opencv", filter, 0) for filter in ("nearest", "bilinear", "bicubic")),
]


def by_cpp(pixels: Path, picture: Path, contract: Preprocess) -> bytes:
    sides = [contract.crop, contract.resize, int(contract.antialias), int(contract.folded)]
    words = [*map(str, sides), contract.resampling, contract.library, contract.order]
    return subprocess.run([pixels, picture.parent, picture.name, *words], capture_output=True, check=True).stdout


def by_python(picture: Path, contract: Preprocess) -> bytes:
    return prepare(Picture(picture.name, picture), contract).tobytes()


@pytest.fixture(scope="module")
def noise(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("noise")
    for height, width in SIZES:
        values = np.random.default_rng(height).integers(0, 256, (height, width, 3), np.uint8)
        Image.fromarray(values).save(folder / f"{height}x{width}.png")
    return [folder / f"{height}x{width}.png" for height, width in SIZES]


@pytest.mark.parametrize(("library", "resampling", "antialias"), KINDS)
def test_resampling(pixels: Path, noise: list[Path], library: str, resampling: str, antialias: int) -> None:
    for number, picture in enumerate(noise):
        crop, resize = SIDES[number]
        contract = Preprocess(crop, resize, resampling, bool(antialias), library)
        assert by_cpp(pixels, picture, contract) == by_python(picture, contract), (picture.name, crop, resize)


@pytest.mark.parametrize(("crop", "resize"), SIDES)
def test_sides(pixels: Path, noise: list[Path], crop: int, resize: int) -> None:
    for picture in noise:
        contract = Preprocess(crop, resize)
        assert by_cpp(pixels, picture, contract) == by_python(picture, contract), picture.name


@pytest.mark.parametrize("order", ["RGB", "BGR"])
def test_normalised_in_the_program(pixels: Path, noise: list[Path], order: str) -> None:
    contract = Preprocess(crop=24, resize=25, order=order, folded=False)
    assert by_cpp(pixels, noise[0], contract) == by_python(noise[0], contract)


def test_jpeg_photographs(pixels: Path, shared_file, tmp_path: Path) -> None:
    """Both decode with libjpeg-turbo."""
    import zipfile

    with zipfile.ZipFile(shared_file("imagenet_calibration_512.zip")) as archive:
        names = [name for name in archive.namelist() if name.endswith(".JPEG")][::128]
        archive.extractall(tmp_path, names)
    assert len(names) == 4
    for name in names:
        for contract in (named_preprocess("volo", 224), named_preprocess("volo-opencv", 224)):
            assert by_cpp(pixels, tmp_path / name, contract) == by_python(tmp_path / name, contract), name


def test_kinds_of_pictures(pixels: Path, tmp_path: Path) -> None:
    rgb = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8))
    deep = np.random.default_rng(1).integers(0, 65536, (40, 50)).astype(np.uint16)
    turned = Image.Exif()
    turned[0x112] = 6
    pictures = {
        "grey.png": (rgb.convert("L"), {}),
        "palette.png": (rgb.convert("P"), {}),
        "alpha.png": (Image.merge("RGBA", (*rgb.split(), rgb.convert("L"))), {}),
        "deep.png": (Image.fromarray(deep), {}),
        "turned.jpg": (rgb, {"exif": turned}),
        "progressive.jpg": (rgb, {"progressive": True}),
        "lossy.webp": (rgb, {"quality": 70}),
    }
    contract = Preprocess(crop=24, resize=25)
    for name, (image, options) in pictures.items():
        image.save(tmp_path / name, **options)
        assert by_cpp(pixels, tmp_path / name, contract) == by_python(tmp_path / name, contract), name


@pytest.mark.parametrize("content", [b"", b"none", None])
def test_what_is_no_picture(pixels: Path, tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(subprocess.CalledProcessError) as refused:
        by_cpp(pixels, tmp_path / "x.png", Preprocess(24, 25))
    assert refused.value.stderr.decode().endswith("error: picture x.png: expected a readable picture, got none\n")
