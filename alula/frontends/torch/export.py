"""An `nn.Module` to an exported program with a symbolic batch, and the `.pt2` file that keeps one.

What was tried, torch 2.13: with a batch-1 example, or with `Dim.AUTO`, the batch is silently frozen.  So the example is
brought to batch 2, the batch is a named `Dim` with bounds, and a batch frozen all the same is an error.
"""

from __future__ import annotations

import inspect
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from pathlib import Path

import torch
from torch import Tensor, nn

from alula.core.errors import AlulaError, ImportFailed, UsageError
from alula.core.files import atomic_write
from alula.frontends.torch.archive import checked_archive

LARGEST_BATCH = 512
EXAMPLE_BATCH = 2  # not 1: torch.export takes a dimension of 1 for a constant

DimRange = tuple[tuple[int, ...], tuple[int, ...]]


def export_program(
    module: nn.Module, example_inputs: tuple[Tensor, ...], dim_range: DimRange | None = None
) -> torch.export.ExportedProgram:
    """`module` in evaluation mode, exported for every batch within `dim_range`, by default 1..512.

    `dim_range` is (smallest shape, largest shape) of the first input; they may differ in dimension 0, the batch, alone,
    and equal ones fix it.  Inputs whose dimension 0 equals the first input's share its batch.  The example's own batch
    does not matter.  The module's training flags are as before afterwards.
    Raises UsageError for a range or example that makes no sense, ImportFailed where the code cannot be exported.
    """
    smallest, largest = _batch_bounds(example_inputs, dim_range)
    batch = min(max(EXAMPLE_BATCH, smallest), largest)
    first = example_inputs[0].shape[0]
    batched = [x.ndim > 0 and x.shape[0] == first for x in example_inputs]
    examples = tuple(_at_batch(x, batch) if share else x for x, share in zip(example_inputs, batched, strict=True))
    names = _input_names(module, len(examples))
    shared = [name for name, share in zip(names, batched, strict=True) if share]
    shapes = None
    if smallest < largest:
        dim = torch.export.Dim("batch", min=smallest, max=largest)
        shapes = tuple({0: dim} if share else None for share in batched)
    where = f"torch.export {type(module).__name__}"
    try:
        with _evaluating(module), _quiet():
            program = torch.export.export(module, examples, dynamic_shapes=shapes)
    except AlulaError:
        raise
    except Exception as error:  # the module's own code ran: anything can come out
        if "specialized" in str(error) or "Constraints violated" in str(error):
            raise _frozen(where, shared, smallest, largest) from error
        raise ImportFailed(f"{where}: expected code that torch.export can trace, got {_one_line(error)}") from error
    if shapes is not None and (frozen := _frozen_inputs(program, batched, names)):
        raise _frozen(where, frozen, smallest, largest)
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
        raise ImportFailed(f"{path}: expected an exported program (.pt2), got {_one_line(error)}") from error
    return program, extra


def _batch_bounds(example_inputs: tuple[Tensor, ...], dim_range: DimRange | None) -> tuple[int, int]:
    if not example_inputs or not all(isinstance(x, Tensor) for x in example_inputs):
        raise UsageError(f"example inputs: expected a tuple of tensors, got {_kinds(example_inputs)}")
    shape = tuple(example_inputs[0].shape)
    if not shape or not shape[0]:
        raise UsageError(f"example inputs: expected a first input with a batch of at least 1, got shape {list(shape)}")
    if dim_range is None:
        return 1, LARGEST_BATCH
    low, high = (tuple(end) for end in dim_range)
    if not low or low[1:] != shape[1:] or high[1:] != shape[1:]:
        raise UsageError(f"dim range: expected the example's {list(shape[1:])} after the batch, got {low} to {high}")
    if not 1 <= low[0] <= high[0]:
        raise UsageError(f"dim range: expected 1 <= smallest batch <= largest batch, got {low[0]} and {high[0]}")
    return low[0], high[0]


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


def _frozen_inputs(program: torch.export.ExportedProgram, batched: list[bool], names: list[str]) -> list[str]:
    values = {node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"}
    inputs = [values[name] for name in program.graph_signature.user_inputs if isinstance(name, str)]
    found = zip(inputs, batched, names, strict=True)
    return [name for value, share, name in found if share and not isinstance(value.shape[0], torch.SymInt)]


def _frozen(where: str, names: list[str], smallest: int, largest: int) -> ImportFailed:
    inputs = ", ".join(names)
    return ImportFailed(
        f"{where} input {inputs}: expected code for every batch from {smallest} to {largest}, got code that fixes it"
    )


def _one_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
