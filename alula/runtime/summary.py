"""What `alula inspect` shows of a model file: its description, its ops, and the program that runs it here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from alula.artifact.model import ModelFile
from alula.artifact.reader import read_model
from alula.codegen.kernels.dot import DOT_BF16, DOT_INT8
from alula.codegen.program import Program, StepInfo
from alula.ir.graph import Graph, Node
from alula.ir.types import TensorType
from alula.runtime.host import default_threads
from alula.runtime.programs import prepare, sizes_of, target_here
from alula.runtime.session import Port, asked_sizes


def summary(path: Path, sizes: Mapping[str, int] | None = None) -> dict[str, Any]:
    """Everything about the model file at `path`, JSON-ready; no threads are started and nothing is run.

    `sizes` are those of `load`, where the file leaves more open than the batch.
    `macs` are multiply-adds of one image, `bytes` say what each size is of.  The program is the one that `load` would
    run here, from the object cache where it is there, with as many threads as `threads` says.  Raises ModelFormatError
    for a file that is damaged or is none.
    """
    with read_model(path) as file:
        target = target_here(file)
        graph = file.graph()
        ranges = sizes_of(file)
        chosen = asked_sizes(ranges, sizes or {})
        program = prepare(file, target, chosen).program
        threads, why = default_threads()
        return {
            **_facts(file),
            "runs_as": target.name,
            "threads": threads,
            "threads_why": why,
            "macs": sum(step.macs for step in program.steps),
            "int8_mac_fraction": int8_mac_fraction(program.steps),
            "size_ranges": ranges,
            "sizes": chosen,
            "inputs": [_port(value.name, value.type) for value in graph.inputs],
            "outputs": [_port(name, value.type) for name, value in graph.outputs],
            "bytes": _bytes(path, file, program),
            "kernels": kernels(program.steps),
            "ops": _ops(graph),
        }


def int8_mac_fraction(steps: Sequence[StepInfo]) -> float:
    """The share of the steps' multiply-adds that are products of bytes; 0 where there are none."""
    total = sum(step.macs for step in steps)
    return sum(step.byte_macs for step in steps) / total if total else 0.0


def kernels(steps: Sequence[StepInfo]) -> list[dict[str, Any]]:
    """What the program's steps compute, the same ones together: label, arithmetic, count, multiply-adds."""
    alike: dict[tuple[str, str], list[StepInfo]] = {}
    for step in steps:
        alike.setdefault((step.label, step.arithmetic), []).append(step)
    return [
        {"label": label, "arithmetic": arithmetic, "count": len(group), "macs": sum(step.macs for step in group)}
        for (label, arithmetic), group in alike.items()
    ]


def _facts(file: ModelFile) -> dict[str, Any]:
    meta = file.meta.to_json()
    order = ("target", "precision", "shape_mutable", "batch_range", "tuned_batch", "preprocess", "provenance")
    return {"digest": file.digest, **{key: meta[key] for key in order}, "kept": file.meta.kept}


def _port(name: str, type: TensorType) -> dict[str, Any]:
    port = Port.of(name, type)
    return {"name": port.name, "dtype": port.dtype.value, "shape": list(port.shape), "type": str(type)}


def _bytes(path: Path, file: ModelFile, program: Program) -> dict[str, int]:
    return {
        "file": path.stat().st_size,
        "weights": sum(section.bytes for section in file.constants),
        "code": len(program.object),
        "arena_per_image": program.arena_bytes,
        "scratch_per_thread": program.scratch_bytes,
    }


def _ops(graph: Graph) -> list[dict[str, Any]]:
    """Name, precision, dtype of the output and origin of every op, in order; `weight` where it is stored in another."""
    return [
        {
            "op": node.op.name,
            "precision": _precision(node),
            "dtype": _dtype(node),
            **_stored(node),
            "origin": node.origin,
        }
        for node in graph.nodes
    ]


def _precision(node: Node) -> str:
    """What an op computes in: int8 or bf16 where it multiplies those, else the type of what it gives."""
    factors = tuple(value.type.dtype for value in node.inputs[:2])
    return next((dot.name for dot in (DOT_INT8, DOT_BF16) if factors == (dot.a, dot.b)), _dtype(node))


def _dtype(node: Node) -> str:
    return node.outputs[0].type.dtype.value


def _stored(node: Node) -> dict[str, str]:
    weights = [value.type.dtype.value for value in node.inputs if value.is_constant]
    return {"weight": weights[0]} if weights and weights[0] != _dtype(node) else {}
