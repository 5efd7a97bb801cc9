"""One adapter for each engine and precision: `prepare` for a shape and a thread count, then `run`.

Packages are imported there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import alula
from alula.core.dtype import Array
from alula.core.errors import UsageError
from bench.precision import BFLOAT16, FLOAT16, FLOAT32, INT8, INT8_FLOAT32, Precision


class Engine(ABC):
    """`title` is for people, `package` what has to be installed, `takes` the attribute of `Subject` it loads.

    `precision` is the class that it is compared in, and what its answer is held to.
    """

    title: ClassVar[str]
    package: ClassVar[str]
    takes: ClassVar[str]
    precision: ClassVar[Precision] = FLOAT32

    @abstractmethod
    def prepare(self, model: Path, shape: Sequence[int], threads: int) -> None:
        """Load the model, to be run on inputs of `shape` by exactly `threads` threads."""

    @abstractmethod
    def run(self, x: Array) -> Array:
        """The output for x, in float32."""

    def close(self) -> None:  # noqa: B027 -- most engines let go of everything by themselves
        """Let go of threads and memory."""


class Alula(Engine):
    """`mode` is what its model file is built in."""

    title, package, takes, mode = "Alula f32", "alula", "alula_path", FLOAT32.mode

    def prepare(self, model: Path, shape: Sequence[int], threads: int) -> None:
        self._session = alula.load(model, threads=threads)
        if (got := self._session.precision) != self.mode:
            raise UsageError(f"engine {self.title}: expected a model file in {self.mode}, got {got}")

    def run(self, x: Array) -> Array:
        return self._session.run(x)[0]

    def close(self) -> None:
        self._session.close()


class AlulaFloat16(Alula):
    title, takes, precision, mode = "Alula f16", "alula_float16_path", FLOAT16, FLOAT16.mode


class AlulaBfloat16(Alula):
    title, takes, precision, mode = "Alula bf16", "alula_bfloat16_path", BFLOAT16, BFLOAT16.mode


class AlulaInt8(Alula):
    title, takes, precision, mode = "Alula int8, rest bf16", "alula_int8_path", INT8, INT8.mode


class AlulaInt8Float32(AlulaInt8):
    """The faster one where the processor has no products of bfloat16."""

    title, takes, mode = "Alula int8, rest f32", "alula_int8_f32_path", INT8_FLOAT32


class OnnxRuntime(Engine):
    title, package, takes = "ONNX Runtime f32", "onnxruntime", "onnx_path"

    def prepare(self, model: Path, shape: Sequence[int], threads: int) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name

    def run(self, x: Array) -> Array:
        output: Array = self._session.run(None, {self._input: x})[0]
        return output


class OnnxRuntimeDynamic(OnnxRuntime):
    title, takes, precision = "ONNX Runtime int8 dynamic", "onnx_dynamic_path", INT8


class OnnxRuntimeStatic(OnnxRuntime):
    title, takes, precision = "ONNX Runtime int8 static", "onnx_static_path", INT8


class OpenVino(Engine):
    """`hint` is the type of the float operators; by itself it takes bfloat16 where the processor has it."""

    title, package, takes = "OpenVINO f32", "openvino", "onnx_path"
    hint: ClassVar[str] = "f32"

    def prepare(self, model: Path, shape: Sequence[int], threads: int) -> None:
        import openvino

        core = openvino.Core()
        network = core.read_model(model)
        network.reshape(list(shape))  # it is faster with a fixed batch, so it gets one
        wanted = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": self.hint,
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = core.compile_model(network, "CPU", wanted)
        got = (compiled.get_property("INFERENCE_NUM_THREADS"), compiled.get_property("INFERENCE_PRECISION_HINT"))
        if got != (threads, getattr(openvino.Type, self.hint)):
            raise UsageError(
                f"engine {self.title}: expected {threads} threads in {self.hint}, got {got[0]} in {got[1]}"
            )
        self._request = compiled.create_infer_request()

    def run(self, x: Array) -> Array:
        self._request.infer([x], share_inputs=True)
        output: Array = self._request.get_output_tensor(0).data.copy()
        return output


class OpenVinoBfloat16(OpenVino):
    title, precision, hint = "OpenVINO bf16", BFLOAT16, "bf16"


class OpenVinoInt8(OpenVino):
    title, package, takes, precision, hint = "OpenVINO int8, rest bf16", "nncf", "openvino_int8_path", INT8, "bf16"


class OpenVinoInt8Float32(OpenVinoInt8):
    """Which of the two is faster depends on the threads."""

    title, hint = "OpenVINO int8, rest f32", "f32"


class TorchEager(Engine):
    """`dtype` is that of weights and activations; input and output stay float32."""

    title, package, takes = "PyTorch eager f32", "torch", "torch_path"
    dtype: ClassVar[str] = "float32"

    def prepare(self, model: Path, shape: Sequence[int], threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._torch: Any = torch
        self._dtype = getattr(torch, self.dtype)
        module = torch.load(model, weights_only=False)  # a whole module, which `Subject` wrote itself
        self._module = module.to(self._dtype)

    def run(self, x: Array) -> Array:
        with self._torch.inference_mode():
            output: Array = self._module(self._torch.from_numpy(x).to(self._dtype)).float().numpy()
        return output


class TorchEagerBfloat16(TorchEager):
    title, precision, dtype = "PyTorch eager bf16", BFLOAT16, "bfloat16"


ENGINES: dict[str, type[Engine]] = {
    "alula": Alula,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "torch": TorchEager,
    "alula-f16": AlulaFloat16,
    "alula-bf16": AlulaBfloat16,
    "openvino-bf16": OpenVinoBfloat16,
    "torch-bf16": TorchEagerBfloat16,
    "alula-int8": AlulaInt8,
    "alula-int8-f32": AlulaInt8Float32,
    "onnxruntime-int8-dynamic": OnnxRuntimeDynamic,
    "onnxruntime-int8-static": OnnxRuntimeStatic,
    "openvino-int8": OpenVinoInt8,
    "openvino-int8-f32": OpenVinoInt8Float32,
}


def check_installed(names: Sequence[str]) -> None:
    """Raises UsageError for an engine that is not installed."""
    for name in names:
        if find_spec(ENGINES[name].package) is None:
            raise UsageError(f"engine {name}: expected the package (pip install 'alula[bench]'), got none")
