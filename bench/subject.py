"""What is measured: one PyTorch module, and the same weights as model files of Alula and of the others."""

from __future__ import annotations

import copy
import hashlib
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import alula
from alula.core.dtype import Array
from bench.precision import BFLOAT16, FLOAT16, FLOAT32, INT8, INT8_FLOAT32
from bench.quantised import onnxruntime_dynamic, onnxruntime_static, openvino_nncf

if TYPE_CHECKING:
    import torch

LARGEST_BATCH = 512
OPSET = 18
SEED = 0
CALIBRATION_SEED = 1
CALIBRATION_IMAGES = 32


@dataclass
class Subject:
    """`module` in evaluation mode, takes f32[b,*shape]; files derived from it are written to `folder` when asked for.

    The ONNX file and those made from it, which takes minutes for a large model, stay in `folder` for the next time.
    """

    name: str
    module: torch.nn.Module
    shape: tuple[int, ...]
    folder: Path
    references: dict[int, Array] = field(default_factory=dict)

    def images(self, batch: int) -> Array:
        """Standard normal f32[batch,*shape], always the same."""
        return np.random.default_rng(SEED).standard_normal((batch, *self.shape), dtype=np.float32)

    @property
    def calibration(self) -> list[Array]:
        """What every engine's int8 model is calibrated on: standard normal f32[1,*shape], none of them in `images`."""
        generator = np.random.default_rng(CALIBRATION_SEED)
        return [generator.standard_normal((1, *self.shape), dtype=np.float32) for _ in range(CALIBRATION_IMAGES)]

    def reference(self, batch: int) -> Array:
        """What PyTorch answers to `images(batch)`."""
        import torch

        if batch not in self.references:
            with torch.inference_mode():
                self.references[batch] = self.module(torch.from_numpy(self.images(batch))).numpy()
        return self.references[batch]

    @cached_property
    def alula_path(self) -> Path:
        """The model file in float32."""
        return self._built(FLOAT32.mode)

    @cached_property
    def alula_float16_path(self) -> Path:
        """The model file in float16."""
        return self._built(FLOAT16.mode)

    @cached_property
    def alula_bfloat16_path(self) -> Path:
        """The model file in bfloat16."""
        return self._built(BFLOAT16.mode)

    @cached_property
    def alula_int8_path(self) -> Path:
        """The model file in int8 and bfloat16."""
        return self._built(INT8.mode, self.calibration)

    @cached_property
    def alula_int8_f32_path(self) -> Path:
        """The model file in int8 and float32."""
        return self._built(INT8_FLOAT32, self.calibration)

    def _built(self, mode: str, calibration: list[Array] | None = None) -> Path:
        """A model file, built anew: Alula is what changes."""
        import torch

        graph = alula.from_torch(self.module, (torch.from_numpy(self.images(1)),))
        path = self.folder / f"{self.name}-{mode}.alula"
        alula.build(graph, alula.BuildConfig(precision=mode), calibration).save(path)
        return path

    @cached_property
    def torch_path(self) -> Path:
        """The whole module as PyTorch saves it."""
        import torch

        path = self.folder / f"{self.name}.pt"
        torch.save(self.module, path)
        return path

    @cached_property
    def onnx_path(self) -> Path:
        """The ONNX file, by PyTorch's exporter, with a dynamic batch."""
        import torch

        path = self.folder / f"{self.name}-{weights_digest(self.module)}-torch{torch.__version__.split('+')[0]}.onnx"
        if not path.exists():
            unfinished = path.with_suffix(".unfinished")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the exporter's, about its own opset versions
                torch.onnx.export(
                    copy.deepcopy(self.module),
                    (torch.from_numpy(self.images(2)),),
                    unfinished,
                    dynamo=True,
                    opset_version=OPSET,
                    dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=LARGEST_BATCH)},),
                    external_data=False,
                    verbose=False,
                )
            unfinished.rename(path)
        return path

    @cached_property
    def onnx_dynamic_path(self) -> Path:
        """ONNX Runtime's model whose activations are rounded while it runs."""
        return onnxruntime_dynamic(self.onnx_path)

    @cached_property
    def onnx_static_path(self) -> Path:
        """ONNX Runtime's calibrated model."""
        return onnxruntime_static(self.onnx_path, self.calibration)

    @cached_property
    def openvino_int8_path(self) -> Path:
        """OpenVINO's calibrated model."""
        return openvino_nncf(self.onnx_path, self.calibration)


def weights_digest(module: torch.nn.Module) -> str:
    """A few letters that other weights would not have."""
    digest = hashlib.sha256()
    for tensor in module.state_dict().values():
        digest.update(tensor.contiguous().numpy().data)
    return digest.hexdigest()[:8]


def named_subject(name: str, folder: Path) -> Subject:
    """The model called `name`, with the package's weights or random ones.  Raises UsageError for an unknown name."""
    from alula.models.zoo import ready_model
    from bench.zoo.subject import zoo_subject
    from bench.zoo.table import MODELS

    folder.mkdir(parents=True, exist_ok=True)
    if name in MODELS:
        return zoo_subject(name, folder)
    module = ready_model(name, seed=SEED).module
    size = module.config.image_size
    return Subject(f"{name}-{size}", module, (3, size, size), folder)
