"""What every engine answers to a subject's pictures, in every precision."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import alula
from alula.compiler import INT8, PRECISIONS, BuildConfig
from alula.core.dtype import Array
from alula.ir.graph import Graph
from alula.runtime.summary import int8_mac_fraction
from alula.vision.preprocess import normalised
from bench.accuracy.subjects import Subject
from bench.engines import ENGINES, Engine
from bench.quantised import image_input, onnxruntime_dynamic, onnxruntime_static, openvino_nncf

BATCH = 16
THREADS = 2
REFERENCE = "force_float32"
OTHERS = ("onnxruntime", "onnxruntime-int8-dynamic", "onnxruntime-int8-static", "openvino-int8-f32")
Logits = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Answers:
    """logits[n,classes] of an engine.

    `mode` is a precision of Alula's or another engine's title, `calibration` the pictures (count, seed) that its ranges
    are from, `int8_share` the part of the multiply-adds that are of bytes, where the engine says.
    """

    engine: str
    mode: str
    logits: Logits
    calibration: tuple[int, int] | None = None
    int8_share: float | None = None


def reference(subject: Subject) -> Logits:
    """What the framework that the model comes from answers, in float32."""
    return _answered(subject.framework(), subject.source, subject)


def answers(subject: Subject, work: Path) -> Iterator[Answers]:
    """Alula's in every precision, quantised once for each calibration, then the other engines'."""
    graph = subject.graph()
    for precision in PRECISIONS:
        if not precision.startswith(INT8):
            yield _alula(subject, graph, precision, work)
    for drawn in subject.calibrations:
        found = alula.calibrate(graph, BuildConfig(preprocess=subject.contract), calibration_inputs(subject, drawn))
        for precision in PRECISIONS:
            if precision.startswith(INT8):
                yield _alula(subject, graph, precision, work, drawn, found)
    for name in OTHERS:
        kind = ENGINES[name]
        path, calibration = _quantised(name, subject)
        yield Answers(name, kind.title, _answered(kind(), path, subject), calibration)


def calibration_inputs(subject: Subject, calibration: tuple[int, int]) -> list[Array]:
    """u8[1,s,s,3] of each drawn picture, as Alula's models take them."""
    return list(subject.pool.drawn(*calibration)[:, None])


def model_file(subject: Subject, precision: str, drawn: tuple[int, int] | None, work: Path) -> Path:
    """Where Alula's model is put, calibrated with the pictures `drawn`."""
    calibration = f".{drawn[0]}-{drawn[1]}" if drawn else ""
    return work / f"{subject.name}.{precision}{calibration}.alula"


def _alula(
    subject: Subject,
    graph: Graph,
    precision: str,
    work: Path,
    drawn: tuple[int, int] | None = None,
    calibration: alula.Calibration | None = None,
) -> Answers:
    """Those of a model file, whose `calibration` is of the pictures `drawn`."""
    config = BuildConfig(precision=precision, preprocess=subject.contract)
    path = model_file(subject, precision, drawn, work)
    alula.build(graph.copied()[0], config, calibration).save(path)
    with alula.load(path, threads=THREADS) as session:
        batch = min(BATCH, session.batch_range[1])
        logits = _by_batches(lambda pixels: session.run(pixels)[0], subject.pictures.pixels, batch)
        share = int8_mac_fraction(session.steps) if calibration else None
    return Answers("alula", precision, logits, drawn, share)


def _quantised(name: str, subject: Subject) -> tuple[Path, tuple[int, int] | None]:
    """The file that an engine loads, and what it was calibrated on: the first of the subject's calibrations."""
    calibration = subject.calibrations[0]

    def images() -> list[Array]:
        return list(normalised(subject.pool.drawn(*calibration), subject.contract)[:, None])

    match name:
        case "onnxruntime-int8-dynamic":
            return onnxruntime_dynamic(subject.onnx), None
        case "onnxruntime-int8-static":
            return onnxruntime_static(subject.onnx, images()), calibration
        case "openvino-int8-f32":
            return openvino_nncf(subject.onnx, images()), calibration
    return subject.onnx, None


def _answered(engine: Engine, source: Path, subject: Subject) -> Logits:
    size = subject.contract.crop
    batch = _batch_of(subject)
    engine.prepare(source, (batch, 3, size, size), THREADS)
    with closing(engine):
        return _by_batches(
            lambda pixels: engine.run(normalised(pixels, subject.contract)), subject.pictures.pixels, batch
        )


def _batch_of(subject: Subject) -> int:
    """What the ONNX file takes at once."""
    return image_input(subject.onnx).type.tensor_type.shape.dim[0].dim_value or BATCH


def _by_batches(run: Callable[[NDArray[np.uint8]], Array], pixels: NDArray[np.uint8], batch: int) -> Logits:
    """logits[n,classes] of pictures of which the last are repeated to fill a batch: some engines have a fixed one."""
    filled = pixels[np.minimum(np.arange(-(-len(pixels) // batch) * batch), len(pixels) - 1)]
    parts = [run(filled[start : start + batch]) for start in range(0, len(filled), batch)]
    return np.concatenate([part.reshape(batch, -1) for part in parts])[: len(pixels)].astype(np.float32, copy=False)
