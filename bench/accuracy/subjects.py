"""The models whose accuracy is measured: weights, pictures that they were not trained on, and a framework to ask."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import alula
from alula.core.errors import UsageError
from alula.core.preprocess import Preprocess
from alula.ir.graph import Graph
from bench.accuracy.pictures import Pictures, sized, zipped
from bench.engines import OnnxRuntime, TorchEager
from bench.subject import Subject as Exported

if TYPE_CHECKING:
    from alula.models.volo import Volo

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
HALF = (0.5, 0.5, 0.5)
CAFFE_MEAN = (104 / 255, 117 / 255, 123 / 255)
ONE_LEVEL = (1 / 255, 1 / 255, 1 / 255)
POOL_STEP = 25  # of CIFAR-10's training pictures every so many can be drawn for calibration
IMAGENET_CALIBRATION = ((128, 0), (128, 1), (128, 2))
CIFAR_CALIBRATION = ((64, 0), (64, 1), (512, 0), (512, 1))
DIGITS_CALIBRATION = ((64, 0), (64, 1))


@dataclass(frozen=True, slots=True)
class Subject:
    """A model in a source format.

    `pictures` are evaluated, `pool` is what calibration draws from, as (count, seed) of `calibrations` say.  `onnx` is
    an ONNX file of it in a folder of its own; `framework` the engine whose float32 answers are the reference,
    `source` what it loads.
    """

    name: str
    title: str
    contract: Preprocess
    pictures: Pictures
    pool: Pictures
    calibrations: tuple[tuple[int, int], ...]
    graph: Callable[[], Graph]
    onnx: Path
    framework: type[OnnxRuntime | TorchEager]
    source: Path


def subject_named(name: str, data: Path, work: Path) -> Subject:
    """The subject called `name`, with pictures and models of the folder `data`; what is made of it goes to `work`.

    Raises UsageError where `data` lacks one of its files.
    """
    return SUBJECTS[name](data, work)


def _cifar10(data: Path, work: Path) -> Subject:
    from alula.models import cifar10

    module, contract = cifar10.volo_cifar10(), cifar10.PREPROCESS
    test = cifar10.read_cifar10(_found(data, "cifar10_test.zip"), "test")
    train = cifar10.read_cifar10(_found(data, "cifar10_train.zip"), "train", POOL_STEP)
    pictures, pool = (sized(part.pixels, part.labels, contract) for part in (test, train))
    title = "VOLO on CIFAR-10"
    return _exported("volo_cifar10", title, module, contract, pictures, pool, CIFAR_CALIBRATION, work)


def _digits(data: Path, work: Path) -> Subject:
    from alula.models import digits

    contract = digits.PREPROCESS
    parts = digits.load_digits("held-out"), digits.load_digits("train")
    pictures, pool = (sized(part.pixels, part.labels, contract) for part in parts)
    title = "VOLO on handwritten digits"
    return _exported("volo_digits", title, digits.volo_digits(), contract, pictures, pool, DIGITS_CALIBRATION, work)


def _exported(
    name: str,
    title: str,
    module: Volo,
    contract: Preprocess,
    pictures: Pictures,
    pool: Pictures,
    calibrations: tuple[tuple[int, int], ...],
    work: Path,
) -> Subject:
    """A model that comes with the package; what is made of other weights lies in another folder."""
    import torch

    digest = hashlib.sha256()
    for tensor in module.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    folder = work / f"{name}-{digest.hexdigest()[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    size = contract.crop
    files = Exported(name, module, (3, size, size), folder)

    def graph() -> Graph:
        return alula.from_torch(module, (torch.zeros(1, 3, size, size),))

    return Subject(
        name, title, contract, pictures, pool, calibrations, graph, files.onnx_path, TorchEager, files.torch_path
    )


def _imagenet(name: str, file: str, title: str, contract: Preprocess) -> Callable[[Path, Path], Subject]:
    def make(data: Path, work: Path) -> Subject:
        source = _found(data, f"models/{file}.onnx")
        folder = work / name
        folder.mkdir(parents=True, exist_ok=True)
        onnx = folder / source.name
        shutil.copyfile(source, onnx)  # what other tools make of it is put beside it
        pictures = zipped(_found(data, "imagenet_val_650.zip"), contract)
        pool = zipped(_found(data, "imagenet_calibration_512.zip"), contract)
        calibrations = IMAGENET_CALIBRATION
        return Subject(
            name, title, contract, pictures, pool, calibrations, lambda: alula.from_onnx(onnx), onnx, OnnxRuntime, onnx
        )

    return make


def _centre(mean: tuple[float, float, float], std: tuple[float, float, float], order: str = "RGB") -> Preprocess:
    """The centre 224 of a picture as it is stored, half an odd margin rounded down."""
    return Preprocess.from_json(
        {"crop": 224, "resize": 0, "library": "opencv", "antialias": False, "mean": mean, "std": std, "order": order}
    )


def _found(data: Path, name: str) -> Path:
    path = data / name
    if not path.is_file():
        raise UsageError(f"data {path}: expected a file, got none (--data names the folder)")
    return path


SUBJECTS: dict[str, Callable[[Path, Path], Subject]] = {
    "volo_cifar10": _cifar10,
    "deit_tiny": _imagenet("deit_tiny", "deit_tiny_patch16_224", "DeiT-tiny", _centre(IMAGENET_MEAN, IMAGENET_STD)),
    "mobilenet_v1": _imagenet("mobilenet_v1", "mobilenet_v1_0.25_224", "MobileNetV1 0.25", _centre(HALF, HALF)),
    "squeezenet": _imagenet(
        "squeezenet", "squeezenet_fp32_upcast", "SqueezeNet", _centre(CAFFE_MEAN, ONE_LEVEL, "BGR")
    ),
    "volo_digits": _digits,
}
