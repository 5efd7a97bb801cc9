"""What every op of a model computes, as files: `mm_run --debug_path`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from alula.cli.streams import Inputs
from alula.core.dtype import Array


def every_value(path: Path, inputs: Inputs, batch: int) -> dict[str, bytes]:
    """File name -> content: each op's output in order, elements only, and `values.json`, which says what they are.

    The model is compiled once more, with all of them as outputs: so none is fused into the next, and each is
    computed on its own, with the same bits.
    """
    from alula.artifact.reader import read_model
    from alula.codegen.packing import pack_weights
    from alula.codegen.program import compile_graph
    from alula.runtime.host import default_threads
    from alula.runtime.native import NativeProgram
    from alula.runtime.programs import target_here

    with read_model(path) as file:
        graph, target = file.graph(), target_here(file)
        if file.meta.target != target.name:
            pack_weights(graph, target)
        named = [
            (f"{number:04d}_{node.op.name}{f'_{place}' if place else ''}", value, node.origin)
            for number, node in enumerate(graph.nodes)
            for place, value in enumerate(node.outputs)
        ]
        for name, value, _ in named:
            graph.output(name, value)
        program = compile_graph(graph, target)
        constants = [value.data for value in graph.constants() if value.data is not None]
        native = NativeProgram(program, constants, default_threads()[0])
    sizes = dict.fromkeys(graph.symbols, batch)
    values: list[Array] = [np.empty(value.type.at(sizes), value.type.dtype.numpy) for _, value in graph.outputs]
    native.run(inputs, values, batch)
    native.close()
    computed = values[len(values) - len(named) :]
    index = [
        {"file": name, "dtype": value.type.dtype.value, "shape": list(array.shape), "origin": origin}
        for (name, value, origin), array in zip(named, computed, strict=True)
    ]
    files = {name: array.tobytes() for (name, *_), array in zip(named, computed, strict=True)}
    return {**files, "values.json": (json.dumps(index, indent=2) + "\n").encode()}
