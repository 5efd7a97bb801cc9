"""An `nn.Module` to an exported program with a symbolic batch, and the `.pt2` file that keeps one.

What was tried, torch 2.13: with a batch-1 example, or with `Dim.AUTO`, the batch is silently frozen.  So the example is
brought to batch 2, the batch is a named `Dim` with bounds, and a batch frozen all the same is an error.
"""

from __future__ import annotations

import inspect
import io
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import torch
from torch import Tensor, nn

from alula.core.errors import AlulaError, ImportFailed, UsageError, first_line
from alula.core.files import atomic_write
from alula.frontends.symbols import BATCH, LARGEST_BATCH, axis_name
from alula.frontends.torch.archive import checked_archive

EXAMPLE_BATCH = 2  # not 1: torch.export takes a dimension of 1 for a constant

DimRange = tuple[tuple[int, ...], tuple[int, ...]]


def export_program(
    module: nn.Module, example_inputs: tuple[Tensor, ...], dim_range: DimRange | None = None
) -> torch.export.ExportedProgram:
    """`module` in evaluation mode, exported for every batch within `dim_range`, by default 1..512.

    `dim_range` is (smallest shape, largest shape) of the first input: sizes that differ stay open, others are fixed.
    Inputs whose dimension 0 equals the first input's share its batch.  The example's own batch does not matter, its
    other sizes have to be within the range.  The module's training flags are as before afterwards.
    Raises UsageError for a range or example that makes no sense, ImportFailed where the code cannot be exported.
    """
    smallest, largest = _bounds(example_inputs, dim_range)
    batch = min(max(EXAMPLE_BATCH, smallest[0]), largest[0])
    first = example_inputs[0].shape[0]
    batched = [x.ndim > 0 and x.shape[0] == first for x in example_inputs]
    examples = tuple(_at_batch(x, batch) if share else x for x, share in zip(example_inputs, batched, strict=True))
    names = _input_names(module, len(examples))
    axes = _open_axes(smallest, largest)
    ranges = {name: (smallest[axis], largest[axis]) for axis, name in axes.items()}
    dims = {axis: _dim(name, *ranges[name]) for axis, name in axes.items()}
    shapes = tuple(
        {axis: dim for axis, dim in dims.items() if number == 0 or (axis == 0 and share)}
        for number, share in enumerate(batched)
    )
    where = f"torch.export {type(module).__name__}"
    try:
        with _evaluating(module), _quiet():
            program = torch.export.export(module, examples, dynamic_shapes=shapes if dims else None)
    except AlulaError:
        raise
    except Exception as error:  # the module's own code ran: anything can come out
        if "specialized" in str(error) or "Constraints violated" in str(error):
            blamed = str(error).partition("Suggested fixes")[0]
            named = [name for name in ranges if re.search(rf"\b{_torch_name(name)}\b", blamed)]
            frozen = named[0] if named else next(iter(ranges))
            taking = [name for name, sizes in zip(names, shapes, strict=True) if sizes]
            raise _frozen(where, taking, frozen, ranges, _guard(blamed, frozen)) from error
        raise ImportFailed(f"{where}: expected code that torch.export can trace, got {first_line(error)}") from error
    for name, inputs in _frozen_inputs(program, shapes, names).items():
        raise _frozen(where, inputs, name, ranges)
    return program


def save_program(program: torch.export.ExportedProgram, path: Path, extra: dict[str, str]) -> None:
    """Writes `program` and the texts of `extra` as one `.pt2` file, atomically.  Raises AlulaError when it cannot."""
    with atomic_write(path) as file:
        torch.export.save(program, file, extra_files=dict(extra))


def load_program(path: Path) -> tuple[torch.export.ExportedProgram, dict[str, str]]:
    """The program in a `.pt2` file and its extra texts by name; nothing of the file is run or freely unpickled.

    Raises ImportFailed for a file that is not one, is damaged, or would need more than plain data to load.
    """
    extra = checked_archive(path)
    try:
        with path.open("rb") as file, _quiet():
            program = torch.export.load(file)
    except Exception as error:  # damage surfaces as whatever torch's reader trips over
        raise ImportFailed(f"{path}: expected an exported program (.pt2), got {first_line(error)}") from error
    return program, extra


def _bounds(example_inputs: tuple[Tensor, ...], dim_range: DimRange | None) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The smallest and the largest shape of the first input."""
    if not example_inputs or not all(isinstance(x, Tensor) for x in example_inputs):
        raise UsageError(f"example inputs: expected a tuple of tensors, got {_kinds(example_inputs)}")
    shape = tuple(example_inputs[0].shape)
    if not shape or not shape[0]:
        raise UsageError(f"example inputs: expected a first input with a batch of at least 1, got shape {list(shape)}")
    if dim_range is None:
        return (1, *shape[1:]), (LARGEST_BATCH, *shape[1:])
    low, high = (tuple(end) for end in dim_range)
    if len(low) != len(shape) or len(high) != len(shape) or not low:
        raise UsageError(f"dim range: expected {len(shape)} sizes, as the example has, got {low} to {high}")
    within = all(least <= size <= most for least, size, most in zip(low[1:], shape[1:], high[1:], strict=True))
    if not within:
        raise UsageError(f"dim range: expected the example's {list(shape[1:])} after the batch, got {low} to {high}")
    if not 1 <= low[0] <= high[0]:
        raise UsageError(f"dim range: expected 1 <= smallest batch <= largest batch, got {low[0]} and {high[0]}")
    return low, high


def _open_axes(smallest: tuple[int, ...], largest: tuple[int, ...]) -> dict[int, str]:
    """The first input's axes that stay open, with our names."""
    ends = enumerate(zip(smallest, largest, strict=True))
    return {axis: axis_name(axis, len(smallest)) for axis, (low, high) in ends if low < high}


def _dim(name: str, low: int, high: int) -> torch.export.Dim:
    return torch.export.Dim(_torch_name(name), min=low, max=high)


def _torch_name(name: str) -> str:
    """What a size is called in PyTorch's messages, where a letter could be anything."""
    return "batch" if name == BATCH else f"size_{name}"


def _kinds(values: object) -> str:
    return str([type(value).__name__ for value in values]) if isinstance(values, tuple) else type(values).__name__


def _at_batch(x: Tensor, batch: int) -> Tensor:
    """x[batch,...]: the rows of `x` over and over."""
    return x[torch.arange(batch, device=x.device) % x.shape[0]]


def _input_names(module: nn.Module, count: int) -> list[str]:
    parameters = list(inspect.signature(module.forward).parameters.values())
    names = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return [names[i] if i < len(names) else f"input {i}" for i in range(count)]


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    flags = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, flag in flags.items():
            part.training = flag


@contextmanager
def _quiet() -> Iterator[None]:
    """torch logs tracebacks and prints whole graphs on a failure; the error that we raise says it in a line."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with redirect_stderr(io.StringIO()):
            yield
    finally:
        logging.disable(before)


def _frozen_inputs(
    program: torch.export.ExportedProgram, shapes: Sequence[Mapping[int, object]], names: list[str]
) -> dict[str, list[str]]:
    """The inputs by the size that was to stay open in them and is a number all the same."""
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    inputs = [values[name] for name in program.graph_signature.user_inputs if isinstance(name, str)]
    found: dict[str, list[str]] = {}
    for value, dims, name in zip(inputs, shapes, names, strict=True):
        for axis in dims:
            if not isinstance(value.shape[axis], torch.SymInt):
                found.setdefault(axis_name(axis, value.ndim), []).append(name)
    return found


def _frozen(
    where: str, inputs: list[str], size: str, ranges: Mapping[str, tuple[int, int]], guard: str = ""
) -> ImportFailed:
    low, high = ranges[size]
    what = "batch" if size == BATCH else size
    got = f"code for {guard} alone" if guard else "code that fixes it"
    return ImportFailed(
        f"{where} input {', '.join(inputs)}: expected code for every {what} from {low} to {high}, got {got}"
    )


def _guard(message: str, size: str) -> str:
    """The condition on a size that torch.export found the code to depend on, where it names one."""
    found = re.search(
        rf"values of {_torch_name(size)} = (\S+) in .* satisfy the generated guard (.*)\.$", message, re.M
    )
    return found[2].replace(found[1], size) if found else ""
