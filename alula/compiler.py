"""From a graph to a model: the passes, the preprocessing, the packing for a target, and what the file will say."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from alula.artifact.model import ModelMeta
from alula.artifact.writer import write_model
from alula.codegen.packing import pack_weights
from alula.core.dtype import Array
from alula.core.errors import UsageError
from alula.core.preprocess import Preprocess
from alula.core.target import CpuTarget, target_named
from alula.ir.graph import Graph
from alula.passes.attach_preprocess import attach_preprocess
from alula.passes.pipeline import optimise
from alula.quant.float16 import store_float16
from alula.runtime.host import native_target

PRECISIONS = ("force_float32", "force_float16")
NATIVE = "native"  # the target of the machine that builds


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """What to build.  `target` is `native` or a name of `alula.core.target`.

    With `shape_mutable` one file serves every batch of the graph's range and `batch_size` is only what it is tuned
    for; without, it serves `batch_size` alone.  `preprocess` makes the model take uint8 pictures and normalise inside,
    unless its `folded` is false: then it is only noted for those who prepare the input.
    Raises UsageError for a precision or target that there is not.
    """

    precision: str = "force_float32"
    preprocess: Preprocess | None = None
    fold_normalisation: bool = True
    target: str = NATIVE
    shape_mutable: bool = True
    batch_size: int = 1

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise UsageError(f"precision: expected one of {', '.join(PRECISIONS)}, got {self.precision!r}")
        if self.target != NATIVE:
            target_named(self.target)


class Model:
    """A built model: the final graph, its weights packed for the target, and what its file says about it."""

    def __init__(self, graph: Graph, meta: ModelMeta) -> None:
        self.graph, self.meta = graph, meta

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the `.alula` file, atomically.  Raises AlulaError where the place cannot be written."""
        write_model(Path(path), self.graph, self.meta)


def build(graph: Graph, config: BuildConfig | None = None, calibration: Iterable[Array] | None = None) -> Model:
    """The model that `config` asks for.  The graph is rewritten in place: import it again to build it another way.

    Raises UsageError for a batch that cannot be, ShapeError where the preprocessing does not fit.
    """
    config = config or BuildConfig()
    if calibration is not None:
        raise UsageError(f"calibration: expected none for {config.precision}, got some")
    target = native_target() if config.target == NATIVE else target_named(config.target)
    preprocess = config.preprocess
    if preprocess is not None:
        preprocess = replace(preprocess, folded=preprocess.folded and config.fold_normalisation)
        graph = attach_preprocess(graph, preprocess)
    batch_range = _batches(graph, config)
    return Model(_final(graph, config.precision, target), _meta(graph, config, target, preprocess, batch_range))


def _final(graph: Graph, precision: str, target: CpuTarget) -> Graph:
    final = optimise(graph)
    if precision == "force_float16":
        store_float16(final)
    pack_weights(final, target)
    return final


def _meta(
    graph: Graph, config: BuildConfig, target: CpuTarget, preprocess: Preprocess | None, batches: tuple[int, int]
) -> ModelMeta:
    return ModelMeta(
        target=target.name,
        precision=config.precision,
        preprocess=preprocess,
        batch_range=batches,
        tuned_batch=config.batch_size,
        shape_mutable=config.shape_mutable,
        provenance=dict(graph.provenance),
    )


def _batches(graph: Graph, config: BuildConfig) -> tuple[int, int]:
    """The batches that the file will serve."""
    ranges = list(graph.symbols.values())
    low, high = ranges[0] if ranges else (config.batch_size, config.batch_size)
    if not low <= config.batch_size <= high:
        raise UsageError(f"batch size: expected {low}..{high}, as the model was exported, got {config.batch_size}")
    return (low, high) if config.shape_mutable else (config.batch_size, config.batch_size)
