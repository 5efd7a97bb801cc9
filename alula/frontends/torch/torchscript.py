"""TorchScript as a module that torch.export can trace: its graph is walked in Python, operator by operator.

A call of the ScriptModule itself would go through PyTorch's own interpreter, for which a size is a number: the batch
would be frozen.  Walked here, sizes stay symbols, branches and loops are decided while it is traced, and what comes out
are the operators of torch.export, for which there is one table of importers.
"""

from __future__ import annotations

import inspect
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx.traceback import preserve_node_meta

from alula.core.errors import ImportFailed, UsageError
from alula.frontends.torch.export import DimRange
from alula.frontends.torch.script_walk import Walk, constants_of

SCRIPT = "alula_script"


def load_script(path: Path) -> torch.jit.ScriptModule:
    """The TorchScript module in a file, on the CPU, with the shapes that it was traced with where it was traced.

    The file is a program, and may run some of it here.  Raises ImportFailed for a damaged one.
    """
    load: Callable[..., torch.jit.ScriptModule] = torch.jit.load
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch deprecates the format
            return load(str(path), map_location="cpu", _restore_shapes=_was_traced(path))
    except Exception as error:  # damage surfaces as whatever torch's reader trips over
        raise ImportFailed(f"{path}: expected TorchScript (.pt), got {type(error).__name__}") from error


def _was_traced(path: Path) -> bool:
    with zipfile.ZipFile(path) as archive:
        return any(entry.split("/")[1:] == ["traced_inputs.pkl"] for entry in archive.namelist())


def script_examples(script: torch.jit.ScriptModule, dim_range: DimRange | None) -> tuple[Tensor, ...]:
    """Inputs of the shapes that the module was traced with, else of the smallest of `dim_range`, the first input's.

    Raises UsageError where neither says enough, ImportFailed for an input that is no tensor.
    """
    examples: list[Tensor] = []
    for name, value in zip(input_names(script), list(script.inlined_graph.inputs())[1:], strict=True):
        type = value.type()
        if not isinstance(type, torch._C.TensorType):
            raise ImportFailed(f"TorchScript input {name}: expected a tensor, got {type}")
        shape = type.sizes() if examples or dim_range is None else dim_range[0]
        if shape is None:
            raise UsageError(
                f"TorchScript input {name}: expected its shape by a trace, a dim range (of the first input) or example "
                "inputs, got none"
            )
        examples.append(torch.zeros(shape, dtype=type.dtype()))
    return tuple(examples)


def script_module(script: torch.jit.ScriptModule) -> nn.Module:
    """A module of the same class name, weights and names of inputs, whose forward is the walk.

    The weights' memory is shared.  Raises ImportFailed for a module without the method forward.
    """
    if not hasattr(script, "forward"):
        raise ImportFailed(f"TorchScript {script.original_name}: expected a method forward, got none")
    named: type[Root] = type(script.original_name, (Root,), {})
    return named(script)


class Part(nn.Module):
    """The parameters, buffers and submodules of one module, by their names; other attributes stay with the script."""

    def __init__(self, script: Any) -> None:
        super().__init__()
        self.__dict__[SCRIPT] = script  # not as a submodule
        for name, parameter in script.named_parameters(recurse=False):
            self.register_parameter(name, nn.Parameter(parameter.detach(), requires_grad=False))
        for name, buffer in script.named_buffers(recurse=False):
            self.register_buffer(name, buffer)
        for name, child in script.named_children():
            self.add_module(name, Part(child))


class Root(Part):
    """The outermost module.  Its inputs have the names that they have in the script."""

    def __init__(self, script: torch.jit.ScriptModule) -> None:
        super().__init__(script)
        graph, names = script.inlined_graph, input_names(script)
        constants = constants_of(graph)

        def forward(*inputs: Any) -> Any:
            with preserve_node_meta():  # so that the walk can say where nodes come from
                results = Walk(constants, _attribute).run(graph, [self, *inputs])
            return results[0] if len(results) == 1 else tuple(results)

        parameters = [inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names]
        forward.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
        self.__dict__["forward"] = forward


def input_names(script: torch.jit.ScriptModule) -> list[str]:
    """What the method forward calls its arguments."""
    forward: Any = script.forward
    return [argument.name for argument in forward.schema.arguments[1:]]


def _attribute(part: Part, name: str) -> Any:
    """A module's attribute; every module is in evaluation mode, whatever it was saved in."""
    if name == "training":
        return False
    for own in (part._parameters, part._buffers, part._modules):
        if name in own:
            return own[name]
    return getattr(part.__dict__[SCRIPT], name)
