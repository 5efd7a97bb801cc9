"""One adapter for each engine: `prepare` for a shape and a thread count, then `run`.  Packages are imported there."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import alula
from alula.core.dtype import Array
from alula.core.errors import UsageError


class Engine(ABC):
    """`title` is for people, `package` what has to be installed, `takes` the attribute of `Subject` it loads."""

    title: ClassVar[str]
    package: ClassVar[str]
    takes: ClassVar[str]

    @abstractmethod
    def prepare(self, model: Path, shape: Sequence[int], threads: int) -> None:
        """Load the model, to be run on inputs of `shape` by exactly `threads` threads."""

    @abstractmethod
    def run(self, x: Array) -> Array:
        """The output for x, in float32."""

    def close(self) -> None:  # noqa: B027 -- most engines let go of everything by themselves
        """Let go of threads and memory."""


class Alula(Engine):
    title, package, takes = "Alula f32", "alula", "alula_path"

    def prepare(self, model: Path, shape: Sequence[int], threads: int) -> None:
        self._session = alula.load(model, threads=threads)

    def run(self, x: Array) -> Array:
        return self._session.run(x)[0]

    def close(self) -> None:
        self._session.close()


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


class OpenVino(Engine):
    title, package, takes = "OpenVINO f32", "openvino", "onnx_path"

    def prepare(self, model: Path, shape: Sequence[int], threads: int) -> None:
        import openvino

        core = openvino.Core()
        network = core.read_model(model)
        network.reshape(list(shape))  # it is faster with a fixed batch, so it gets one
        wanted = {
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": "f32",  # by itself it takes bfloat16 where the processor has it
            "PERFORMANCE_HINT": "LATENCY",
        }
        compiled = core.compile_model(network, "CPU", wanted)
        got = (compiled.get_property("INFERENCE_NUM_THREADS"), compiled.get_property("INFERENCE_PRECISION_HINT"))
        if got != (threads, openvino.Type.f32):
            raise UsageError(f"engine openvino: expected {threads} threads in f32, got {got[0]} in {got[1]}")
        self._request = compiled.create_infer_request()

    def run(self, x: Array) -> Array:
        self._request.infer([x], share_inputs=True)
        output: Array = self._request.get_output_tensor(0).data.copy()
        return output


class TorchEager(Engine):
    title, package, takes = "PyTorch eager f32", "torch", "torch_path"

    def prepare(self, model: Path, shape: Sequence[int], threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._torch = torch
        self._module = torch.load(model, weights_only=False)  # a whole module, which `Subject` wrote itself

    def run(self, x: Array) -> Array:
        with self._torch.inference_mode():
            output: Array = self._module(self._torch.from_numpy(x)).numpy()
        return output


ENGINES: dict[str, type[Engine]] = {
    "alula": Alula,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "torch": TorchEager,
}


def check_installed(names: Sequence[str]) -> None:
    """Raises UsageError for an engine that is not installed."""
    for name in names:
        if find_spec(ENGINES[name].package) is None:
            raise UsageError(f"engine {name}: expected the package (pip install 'alula[bench]'), got none")
