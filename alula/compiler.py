"""From a graph to a model: the passes, the preprocessing, the packing for a target, and what the file will say."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from alula.artifact.model import ModelMeta
from alula.artifact.writer import write_model
from alula.codegen.groups import narrowable_outputs
from alula.codegen.packing import pack_weights
from alula.codegen.program import compile_graph
from alula.core.dtype import Array
from alula.core.errors import UsageError
from alula.core.preprocess import Preprocess
from alula.core.target import CpuTarget, target_named
from alula.ir.graph import Graph
from alula.passes.attach_preprocess import attach_preprocess
from alula.passes.pipeline import optimise
from alula.quant.bfloat16 import use_bfloat16
from alula.quant.calibrate import calibrate as calibrated
from alula.quant.calibration import Calibration
from alula.quant.float16 import store_float16
from alula.quant.int8 import use_int8
from alula.quant.products import labelled_products
from alula.quant.ranges import node_name
from alula.quant.scheme import Scheme
from alula.quant.stored import store_bfloat16
from alula.runtime.host import default_threads, native_target
from alula.runtime.native import NativeProgram

PRECISIONS = (
    "force_float32",
    "force_float16",
    "force_bfloat16",
    "qint8_mixed_float16",
    "qint8_mixed_bfloat16",
    "qint8_mixed_float32",
)
INT8 = "qint8"  # how the names of the precisions with products of bytes begin
Inputs = Iterable[Array | Sequence[Array]]
RECIPE = Scheme()
NATIVE = "native"  # the target of the machine that builds


@dataclass(frozen=True, slots=True)
class BuildConfig:
    """What to build.  `target` is `native` or a name of `alula.core.target`.

    With `shape_mutable` one file serves every batch of the graph's range and `batch_size` is only what it is tuned
    for; without, it serves `batch_size` alone.  `preprocess` makes the model take uint8 pictures and normalise inside,
    unless its `folded` is false: then it is only noted for those who prepare the input.
    `scheme` says how the qint8 precisions quantise.  Raises UsageError for a precision or target that there is not.
    """

    precision: str = "force_float32"
    preprocess: Preprocess | None = None
    fold_normalisation: bool = True
    target: str = NATIVE
    shape_mutable: bool = True
    batch_size: int = 1
    scheme: Scheme = RECIPE

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


def build(graph: Graph, config: BuildConfig | None = None, calibration: Calibration | Inputs | None = None) -> Model:
    """The model that `config` asks for.  The graph is rewritten in place: import it again to build it another way.

    `calibration` is for the qint8 precisions: what `calibrate` gave, or inputs as the built model takes them, arrays of
    any batch or one array for each input.  Without it activations get a scale for each row, and convolutions of
    anything but pixels stay float.  Raises UsageError for a batch that cannot be and for calibration that does not fit
    or that the precision has no use for, ShapeError where the preprocessing does not fit.
    """
    config = config or BuildConfig()
    if calibration is not None and not config.precision.startswith(INT8):
        raise UsageError(f"calibration: expected none for {config.precision}, got some")
    target = native_target() if config.target == NATIVE else target_named(config.target)
    batch_range = _batches(graph, config)
    final = final_graph(graph, config)
    kept = _kept(final, config)
    lower_precision(final, config.precision, calibration, config.scheme)
    pack_weights(final, target)
    return Model(final, _meta(graph, config, target, batch_range, kept))


def calibrate(graph: Graph, config: BuildConfig, inputs: Inputs) -> Calibration:
    """What `inputs` show of the model that `config` asks for, to build it with in any qint8 precision.

    `inputs` are as `build` takes them; the graph stays as it is.  Raises UsageError for inputs that are none, do not
    fit, are the same number everywhere or make values that are not finite.
    """
    return calibrated(final_graph(graph.copied()[0], config), inputs, compiled_run)


def lower_precision(
    graph: Graph, precision: str, calibration: Calibration | Inputs | None = None, scheme: Scheme | None = None
) -> None:
    """A final graph in float32 with the dtypes of a precision, in place.

    Calibration with inputs runs the float program on this machine, whatever the target is.
    """
    if precision.startswith(INT8):
        if calibration is not None and not isinstance(calibration, Calibration):
            calibration = calibrated(graph, calibration, compiled_run)
        use_int8(graph, calibration, scheme or Scheme())
    if precision.endswith("float16") and not precision.endswith("bfloat16"):
        store_float16(graph)
    if precision.endswith("bfloat16"):
        use_bfloat16(graph)
        store_bfloat16(graph, narrowable_outputs(graph))


def compiled_run(graph: Graph) -> Callable[[Sequence[Array]], Sequence[Array]]:
    """A graph, compiled for this machine, as something that gives its outputs for its inputs.

    A graph of open sizes is compiled anew where they are others than in the last run.  The graph is packed.
    """
    pack_weights(graph, native_target())
    ranges = graph.open_sizes()
    names = [(str(dim), axis, n) for n, v in enumerate(graph.inputs) for axis, dim in enumerate(v.type.shape)]
    last: dict[tuple[int, ...], Callable[[Sequence[Array]], Sequence[Array]]] = {}

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        sizes = {name: inputs[n].shape[axis] for name, axis, n in names if name in ranges}
        key = tuple(sizes.values())
        if key not in last:
            last.clear()
            last[key] = _compiled(graph.copied(sizes)[0] if ranges else graph)
        return last[key](inputs)

    return run


def _compiled(graph: Graph) -> Callable[[Sequence[Array]], Sequence[Array]]:
    program = compile_graph(graph, native_target())
    constants = [value.data for value in graph.constants() if value.data is not None]
    native = NativeProgram(program, constants, default_threads()[0])
    types = [value.type for _, value in graph.outputs]

    def run(inputs: Sequence[Array]) -> Sequence[Array]:
        batch = len(inputs[0])
        sizes = dict.fromkeys(graph.symbols, batch)
        outputs = [np.empty(type.at(sizes), type.dtype.numpy) for type in types]
        native.run(inputs, outputs, batch)
        return outputs

    return run


def _contract(config: BuildConfig) -> Preprocess | None:
    """How the model's file will take pictures."""
    preprocess = config.preprocess
    return preprocess and replace(preprocess, folded=preprocess.folded and config.fold_normalisation)


def final_graph(graph: Graph, config: BuildConfig) -> Graph:
    """The graph with its preprocessing, optimised, in float32, in place: what precisions and calibration start from."""
    contract = _contract(config)
    return optimise(graph if contract is None else attach_preprocess(graph, contract))


def _kept(final: Graph, config: BuildConfig) -> dict[str, str]:
    """Why products are not quantised that the scheme wants in float, by the labels that they keep."""
    wanted = config.scheme.float_nodes if config.precision.startswith(INT8) else {}
    names = {label: node_name(final, node) for label, node in labelled_products(final).items()} if wanted else {}
    return {label: wanted[name] for label, name in names.items() if name in wanted}


def _meta(
    graph: Graph, config: BuildConfig, target: CpuTarget, batches: tuple[int, int], kept: dict[str, str]
) -> ModelMeta:
    return ModelMeta(
        target=target.name,
        precision=config.precision,
        preprocess=_contract(config),
        batch_range=batches,
        tuned_batch=config.batch_size,
        shape_mutable=config.shape_mutable,
        provenance=dict(graph.provenance),
        kept=kept,
    )


def _batches(graph: Graph, config: BuildConfig) -> tuple[int, int]:
    """The batches that the file will serve."""
    batches = [limits for name, limits in graph.symbols.items() if name not in graph.open_sizes()]
    low, high = batches[0] if batches else (config.batch_size, config.batch_size)
    if not low <= config.batch_size <= high:
        raise UsageError(f"batch size: expected {low}..{high}, as the model was exported, got {config.batch_size}")
    return (low, high) if config.shape_mutable else (config.batch_size, config.batch_size)
