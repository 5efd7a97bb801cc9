"""Native programs of a model file: from the object cache where they were compiled before, else made now and kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from alula.artifact.model import ModelFile
from alula.codegen.packing import pack_weights
from alula.codegen.program import Program, compile_graph
from alula.core.dtype import Array
from alula.core.errors import GraphError, ModelFormatError, ShapeError
from alula.core.target import CpuTarget, target_named
from alula.ir.graph import open_sizes
from alula.ir.parser import parse_inputs
from alula.runtime.cache import ObjectCache, object_key
from alula.runtime.host import native_target, supports


@dataclass(frozen=True, slots=True)
class Prepared:
    """A program, the constants that it reads in the graph's order, and whether the cache had it."""

    program: Program
    constants: list[Array]
    from_cache: bool


def target_here(file: ModelFile) -> CpuTarget:
    """What a file runs as on this machine: the target it was built for, else the machine's own."""
    built_for = target_named(file.meta.target)
    return built_for if supports(built_for) else native_target()


def sizes_of(file: ModelFile) -> dict[str, tuple[int, int]]:
    """The ranges of the sizes that a file leaves open besides the batch; each set of them has a program of its own.

    Raises ModelFormatError.
    """
    try:
        return open_sizes(*parse_inputs(file.graph_text))
    except (GraphError, ShapeError) as error:
        raise ModelFormatError(f"model file {file.path}: header, graph: {error}") from None


def prepare(file: ModelFile, target: CpuTarget, sizes: Mapping[str, int] | None = None) -> Prepared:
    """The program of `file` for `target`, and for `sizes` of all that `sizes_of` names.

    Weights packed for another target are packed anew, in memory.  Raises ModelFormatError for a graph that the verifier
    refuses, CodegenError for one without kernels, ShapeError where an op does not fit the sizes.
    """
    sizes = sizes or {}
    written = ",".join(f"{name}={size}" for name, size in sorted(sizes.items()))
    cache, key = ObjectCache(), object_key(file.digest, target.name, written)
    parts = cache.get(key)
    packed = file.meta.target == target.name
    if parts is not None and packed and not sizes:
        return Prepared(Program.from_parts(parts), [section.array for section in file.constants], from_cache=True)
    graph = file.graph()
    if sizes:
        graph = graph.copied(sizes)[0]
    if not packed:
        pack_weights(graph, target)
    program = compile_graph(graph, target) if parts is None else Program.from_parts(parts)
    if parts is None:
        cache.put(key, program.to_parts())
    constants = [value.data for value in graph.constants() if value.data is not None]
    return Prepared(program, constants, from_cache=parts is not None)
