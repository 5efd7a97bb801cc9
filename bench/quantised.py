"""The other engines' int8 models, made from the ONNX file by their own tools; each stays in a folder for the next time.

Packages are imported in the functions.  `images` are f32[1,...], the same for every tool that calibrates.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from importlib.metadata import version
from pathlib import Path
from typing import Any

from alula.core.dtype import Array

# Rounding LayerNorm, Softmax and the residual sums as well, which is the tool's default, costs VOLO its answers.
STATIC_OPS = ["MatMul", "Gemm", "Conv"]
# Convolutions become ConvInteger, which is slower than the float one: VOLO-D2 takes 120 ms instead of 79.
DYNAMIC_OPS = ["MatMul", "Gemm"]

LEAST_OPSET = 13  # the first in which weights have scales by channel


def onnxruntime_dynamic(source: Path) -> Path:
    """Weights in int8 by channel, activations rounded while running, by what each tensor holds."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    def make(folder: Path) -> None:
        prepared = _prepared(source, folder)
        quantize_dynamic(
            prepared,
            folder / "model.onnx",
            op_types_to_quantize=DYNAMIC_OPS,
            per_channel=True,
            weight_type=QuantType.QInt8,
        )
        prepared.unlink()

    return _once(source, f"onnxruntime{version('onnxruntime')}-dynamic", make) / "model.onnx"


def onnxruntime_static(source: Path, images: Sequence[Array]) -> Path:
    """Quantise-dequantise pairs around products and convolutions, weights by channel, ranges from the images."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc] # a class without types
        def __init__(self, name: str) -> None:
            self.inputs = iter([{name: image} for image in images])

        def get_next(self) -> dict[str, Array] | None:
            return next(self.inputs, None)

    def make(folder: Path) -> None:
        prepared = _prepared(source, folder)
        quantize_static(
            prepared,
            folder / "model.onnx",
            Reader(image_input(prepared).name),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=STATIC_OPS,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        prepared.unlink()

    return _once(source, f"onnxruntime{version('onnxruntime')}-static", make) / "model.onnx"


def openvino_nncf(source: Path, images: Sequence[Array]) -> Path:
    """NNCF's post-training quantisation with its preset for transformers."""
    os.environ.setdefault("NNCF_CI", "1")  # else it reports its use to its makers
    with redirect_stdout(sys.stderr):
        import nncf  # type: ignore[import-untyped]
        import openvino

    def make(folder: Path) -> None:
        with redirect_stdout(sys.stderr):  # it talks, but the page is what belongs there
            quantised: Any = nncf.quantize(
                openvino.Core().read_model(source),
                nncf.Dataset(list(images)),
                subset_size=len(images),
                model_type=nncf.ModelType.TRANSFORMER,
            )
        openvino.save_model(quantised, folder / "model.xml", compress_to_fp16=False)

    return _once(source, f"nncf{version('nncf')}", make) / "model.xml"


def _prepared(source: Path, folder: Path) -> Path:
    """The model with shapes inferred and constants folded, as the tool wants it; old operators by their new names."""
    import onnx
    from onnx.version_converter import convert_version
    from onnxruntime.quantization import quant_pre_process

    path = folder / "prepared.onnx"
    model = onnx.load(source)
    if model.opset_import[0].version < LEAST_OPSET:
        onnx.save(convert_version(model, LEAST_OPSET), path)
        source = path
    quant_pre_process(source, path, skip_symbolic_shape=True)  # which does not know Col2Im
    return path


def image_input(model: Path) -> Any:
    """The ONNX description of the model's input; old files list the weights among the inputs too."""
    import onnx

    graph = onnx.load(model, load_external_data=False).graph
    weights = {weight.name for weight in graph.initializer}
    return next(value for value in graph.input if value.name not in weights)


def _once(source: Path, suffix: str, make: Callable[[Path], None]) -> Path:
    """The folder beside `source` that `make` fills, if it is not there yet; never half of it."""
    folder = source.with_name(f"{source.stem}-{suffix}")
    if not folder.exists():
        unfinished = folder.with_name(f"{folder.name}.unfinished")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        make(unfinished)
        unfinished.rename(folder)
    return folder
