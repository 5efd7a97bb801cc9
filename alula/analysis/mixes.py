"""Models of which some products are in bytes and some in float: built, saved and timed."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

from alula.analysis.timing import Times, product_times
from alula.compiler import BuildConfig, Model, build, final_graph
from alula.core.dtype import Array
from alula.ir.graph import Graph
from alula.quant.calibration import Calibration
from alula.quant.products import labelled_products
from alula.quant.ranges import node_name
from alula.runtime.session import Session, load

FLOAT = "force_float32"
NOTHING: Mapping[str, str] = MappingProxyType({})


class Mixes:
    """One model in as many mixes as are asked for; the imported graph stays as it is.

    `final` is the graph that precisions start from; products go by their labels in it.
    """

    def __init__(self, graph: Graph, config: BuildConfig, calibration: Calibration | None) -> None:
        self._graph, self._config, self._calibration = graph, config, calibration
        self.final = final_graph(graph.copied()[0], config)
        self._names = {label: node_name(self.final, node) for label, node in labelled_products(self.final).items()}

    @property
    def serves_any_batch(self) -> bool:
        """False where the graph fixes the batch."""
        return bool(self._graph.symbols)

    @property
    def least_batch(self) -> int:
        """The smallest batch that the graph takes."""
        ranges = list(self._graph.symbols.values())
        return ranges[0][0] if ranges else int(self.final.inputs[0].type.at({})[0])

    def built(self, kept: Mapping[str, str]) -> Model:
        """The model with these products in float, by label, and why."""
        return build(self._graph.copied()[0], self.config(kept), self._calibration)

    def config(self, kept: Mapping[str, str]) -> BuildConfig:
        """How to build that."""
        scheme = replace(self._config.scheme, float_nodes={self._names[label]: why for label, why in kept.items()})
        return replace(self._config, scheme=scheme)

    def floats(self) -> Model:
        """The model in float32."""
        return build(self._graph.copied()[0], replace(self._config, precision=FLOAT), None)

    def all_float(self) -> dict[str, str]:
        """Every product, to be kept in the float type of the precision."""
        return dict.fromkeys(self._names, "to be timed")


def mix_times(
    mixes: Mixes, inputs: Callable[[Session], Sequence[Array]], kept: Mapping[str, str] = NOTHING
) -> tuple[Times, Times]:
    """What products take in a mix, by default with all that can be in bytes, and with none in bytes, in turn.

    On one thread: how long threads wait for each other depends on what else the machine does, and says nothing of ops.
    """
    models = [mixes.built(kept), mixes.built(mixes.all_float())]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder, f"{number}.alula") for number in range(len(models))]
        for model, path in zip(models, paths, strict=True):
            model.save(path)
        with load(paths[0], threads=1) as first, load(paths[1], threads=1) as second:
            bytes_, floats = product_times([(first, models[0].graph), (second, models[1].graph)], inputs(first))
    return bytes_, floats
