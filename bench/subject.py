"""What is measured: one PyTorch module, and the same weights as a model file of Alula and as ONNX."""

from __future__ import annotations

import copy
import warnings
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

import alula
from alula.core.dtype import Array

if TYPE_CHECKING:
    import torch

LARGEST_BATCH = 512
OPSET = 18
SEED = 0


@dataclass
class Subject:
    """`module` in evaluation mode, takes f32[b,*shape]; files derived from it are written to `folder` when asked for.

    The ONNX file, which takes the exporter minutes for a large model, stays in `folder` for the next time.
    """

    name: str
    module: torch.nn.Module
    shape: tuple[int, ...]
    folder: Path
    references: dict[int, Array] = field(default_factory=dict)

    def images(self, batch: int) -> Array:
        """Standard normal f32[batch,*shape], always the same."""
        return np.random.default_rng(SEED).standard_normal((batch, *self.shape), dtype=np.float32)

    def reference(self, batch: int) -> Array:
        """What PyTorch answers to `images(batch)`."""
        import torch

        if batch not in self.references:
            with torch.inference_mode():
                self.references[batch] = self.module(torch.from_numpy(self.images(batch))).numpy()
        return self.references[batch]

    @cached_property
    def alula_path(self) -> Path:
        """The model file, built anew: Alula is what changes."""
        import torch

        graph = alula.from_torch(self.module, (torch.from_numpy(self.images(1)),))
        path = self.folder / f"{self.name}.alula"
        alula.build(graph).save(path)
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

        path = self.folder / f"{self.name}-torch{torch.__version__.split('+')[0]}.onnx"
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


def named_subject(name: str, folder: Path) -> Subject:
    """The model called `name`, with the package's weights or random ones.  Raises UsageError for an unknown name."""
    from alula.models.zoo import ready_model

    module = ready_model(name, seed=SEED).module
    size = module.config.image_size
    folder.mkdir(parents=True, exist_ok=True)
    return Subject(f"{name}-{size}", module, (3, size, size), folder)
