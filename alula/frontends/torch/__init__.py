"""PyTorch models to graphs, by torch.export.  Importing this package does not load torch; calling it does."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alula.core.errors import ImportFailed, UsageError
from alula.frontends.torch.kind import Kind, kind_of
from alula.ir.graph import Graph

if TYPE_CHECKING:
    from torch import Tensor, nn

    from alula.frontends.torch.export import DimRange


def from_torch(
    source: nn.Module | str | Path, example_inputs: tuple[Tensor, ...] | None = None, dim_range: DimRange | None = None
) -> Graph:
    """The graph of a module, traced with example inputs of any batch, or of a `.pt2` or TorchScript file.

    Inputs are as the module takes them, with a symbolic batch N within `dim_range`, (smallest, largest) shape of the
    first input; by default 1..512, or what the file allows.  Other sizes of the first input in which the two differ
    stay open too.  The module is traced in evaluation mode, its training flags are kept, and its weights are shared
    with the graph, not copied.  TorchScript, a module or a file, needs examples only where it was not traced and
    `dim_range` does not say the shape of its only input.  The preprocessing contract and provenance of a `.pt2` are the
    graph's `preprocess` and `provenance`.
    Raises UsageError for arguments that make no sense, UnsupportedOperator naming every operator that we do not know,
    ImportFailed for any other module or file that cannot be imported or where torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise ImportFailed(
            "from_torch: expected torch to be installed (pip install 'alula[torch]'), got none"
        ) from error

    from alula.frontends.torch.export import export_program
    from alula.frontends.torch.load import read_pt2
    from alula.frontends.torch.program import import_program
    from alula.frontends.torch.torchscript import load_script, script_examples, script_module

    if isinstance(source, (str, Path)):
        path = Path(source)
        if kind_of(path) is Kind.TORCHSCRIPT:
            return from_torch(load_script(path), example_inputs, dim_range)
        if example_inputs is not None:
            raise UsageError(f"from_torch {source}: expected no example inputs with an exported program, got some")
        graph, preprocess, provenance = read_pt2(path, dim_range)
        graph.preprocess, graph.provenance = preprocess, provenance
        return graph
    if not isinstance(source, torch.nn.Module):
        raise UsageError(
            f"from_torch: expected a torch.nn.Module or the path of a .pt2 or .pt file, got {type(source).__name__}"
        )
    framework = "pytorch"
    if isinstance(source, torch.jit.ScriptModule):
        framework = "torchscript"
        example_inputs = example_inputs or script_examples(source, dim_range)
        source = script_module(source)
    if example_inputs is None:
        raise UsageError("from_torch: expected example inputs with a module, got none")
    graph = import_program(export_program(source, example_inputs, dim_range))
    graph.provenance = {"framework": framework, "framework_version": str(torch.__version__), "module": graph.name}
    return graph
