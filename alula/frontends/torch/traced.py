"""An exported PyTorch program by PyTorch's own interpreter, node by node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputSpec

from alula.core.dtype import Array
from alula.frontends.torch.decompose import decomposed
from alula.frontends.torch.export import DimRange, export_program, load_program
from alula.frontends.torch.kind import Kind, kind_of
from alula.frontends.torch.program import Reader
from alula.frontends.torch.tensors import array_of
from alula.frontends.torch.torchscript import load_script, script_examples, script_module
from alula.frontends.traced import Traced
from alula.ir.graph import Value


def traced_torch(path: Path, dim_range: DimRange | None = None) -> Traced:
    """The program in a `.pt2` or TorchScript file with its graph.  Raises what `alula.from_torch` raises."""
    if kind_of(path) is Kind.EXPORTED:
        return traced_program(decomposed(load_program(path)[0]), dim_range)
    script = load_script(path)
    program = export_program(script_module(script), script_examples(script, dim_range), dim_range)
    return traced_program(decomposed(program))


def traced_program(program: ExportedProgram, dim_range: DimRange | None = None) -> Traced:
    """A program of operators that have importers, with its graph."""
    reader = Reader(program, dim_range)
    graph = reader.read()
    made = {node: value for node, value in reader.values.items() if isinstance(value, Value) and value.producer}

    def values(inputs: Sequence[Array]) -> Iterator[tuple[Value, Array]]:
        for node, tensor in _interpreted(program, inputs):
            if node in made:
                yield made[node], array_of(tensor)

    return Traced(graph, f"torch {torch.__version__}", frozenset(made.values()), values)


def _interpreted(program: ExportedProgram, inputs: Sequence[Array]) -> Iterator[tuple[fx.Node, Tensor]]:
    """What every node of the program makes, in order."""
    interpreter = fx.Interpreter(program.graph_module)
    specs = {spec.arg.name: spec for spec in program.graph_signature.input_specs}
    given = iter(inputs)
    last = {operand: node for node in program.graph.nodes for operand in node.all_input_nodes}
    for node in program.graph.nodes:
        if node.op == "output":
            return
        if node.op == "placeholder":
            interpreter.env[node] = _given(program, specs[node.name], given)
            continue
        with torch.no_grad():
            result = interpreter.env[node] = interpreter.run_node(node)
        if isinstance(result, Tensor):
            yield node, result
        for operand in {node, *node.all_input_nodes}:
            if last.get(operand, node) is node:
                del interpreter.env[operand]


def _given(program: ExportedProgram, spec: InputSpec, inputs: Iterator[Array]) -> object:
    """What a placeholder stands for: a weight, a constant, or the next input."""
    if spec.target is not None:
        return program.state_dict[spec.target] if spec.target in program.state_dict else program.constants[spec.target]
    if isinstance(spec.arg, ConstantArgument):
        return spec.arg.value
    return torch.from_numpy(np.array(next(inputs)))
