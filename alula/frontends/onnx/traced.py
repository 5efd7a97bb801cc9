"""An ONNX model by ONNX Runtime, whose every tensor becomes an output."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import onnx

from alula.core.dtype import Array
from alula.core.errors import ImportFailed
from alula.frontends.onnx import DimRange
from alula.frontends.onnx.program import Reader
from alula.frontends.onnx.source import read_source
from alula.frontends.traced import Traced
from alula.ir.graph import Value
from alula.ir.parts import in_parts


def traced_onnx(path: Path, dim_range: DimRange | None = None) -> Traced:
    """The model with its graph.  Raises what `alula.from_onnx` raises, ImportFailed also without ONNX Runtime."""
    try:
        import onnxruntime
    except ImportError as error:
        raise ImportFailed(
            f"{path}: expected ONNX Runtime to compare with (pip install 'alula[verify]'), got none"
        ) from error

    reader = Reader(read_source(path), dim_range, {})
    graph = reader.read()
    names: dict[Value, str] = {}
    for name, value in reader.scope.items():
        if isinstance(value, Value) and value.producer is not None:
            names.setdefault(value, name)  # others of one value are its aliases

    def values(inputs: Sequence[Array]) -> Iterator[tuple[Value, Array]]:
        model = onnx.load(path)  # external data included
        del model.graph.output[:]
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names.values())
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        given = dict(zip((value.name for value in graph.inputs), inputs, strict=True))
        ordered = [value for node in graph.nodes for value in node.outputs if value in names]
        for part in in_parts(ordered, dict.fromkeys(graph.symbols, len(inputs[0]))):
            yield from zip(part, session.run([names[value] for value in part], given), strict=True)

    return Traced(graph, f"ONNX Runtime {onnxruntime.__version__}", frozenset(names), values)
