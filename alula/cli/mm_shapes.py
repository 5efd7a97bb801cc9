"""The shape groups of `mm_run`: which batches its runs take in turn, from its options or a file of shapes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alula.cli.options import check_batch_alone, chosen_batch
from alula.core.errors import UsageError

if TYPE_CHECKING:
    from alula.runtime.session import Port, Session

BY_ORDER, BY_NAME = 0, 1  # `inputType` of a run_config: shapes are a list, or stand under the inputs' names


def batch_sizes(session: Session, options: Mapping[str, Any]) -> list[int]:
    """The batch of each shape group: from run_config, else batch_size over input_dims, else what the file is tuned for.

    Only the batch of a model file is open, so it is all that a shape can say; the rest has to be the model's own.
    Raises UsageError for shapes that are not.
    """
    check_batch_alone(Path(options["magicmind_model"]), session.size_ranges)
    if options["run_config"]:
        groups = [_batch_of(session, shapes) for shapes in _read_config(session, Path(options["run_config"]))]
    else:
        wanted = _batch_of(session, options["input_dims"]) if options["input_dims"] else None
        groups = _asked(session, options["batch_size"]) or [wanted]
    return [chosen_batch(session, size) for size in groups]


def _asked(session: Session, sizes: Sequence[int | None]) -> list[int | None]:
    """One size, or one for each input; several for the only input are groups."""
    inputs = len(session.inputs)
    if inputs == 1 or len(sizes) <= 1:
        return list(sizes)
    if len(sizes) != inputs:
        raise UsageError(f"batch_size: expected 1 value or {inputs}, one for each input, got {len(sizes)}")
    given = {size for port, size in zip(session.inputs, sizes, strict=True) if None in port.shape and size is not None}
    if len(given) > 1:
        raise UsageError(f"batch_size: expected one batch for all inputs, got {', '.join(map(str, sorted(given)))}")
    return [*given] or [None]


def _batch_of(session: Session, shapes: Sequence[Sequence[int]]) -> int | None:
    """What the shapes say of the batch; None where no input has one."""
    if len(shapes) != len(session.inputs):
        raise UsageError(f"shapes: expected {len(session.inputs)}, one for each input, got {len(shapes)}")
    sizes = [size for port, shape in zip(session.inputs, shapes, strict=True) for size in _open_sizes(port, shape)]
    if len(set(sizes)) > 1:
        raise UsageError(f"shapes: expected one batch for all inputs, got {', '.join(map(str, sizes))}")
    return sizes[0] if sizes else None


def _open_sizes(port: Port, shape: Sequence[int]) -> list[int]:
    fits = len(shape) == len(port.shape) and all(
        want in (None, size) for want, size in zip(port.shape, shape, strict=True)
    )
    if not fits:
        raise UsageError(f"shape of input {port.name}: expected {port}, got {','.join(map(str, shape)) or 'a scalar'}")
    return [size for want, size in zip(port.shape, shape, strict=True) if want is None]


def _read_config(session: Session, path: Path) -> list[list[list[int]]]:
    """The groups of a run_config, each a shape for each input in order."""
    try:
        config = json.loads(path.read_bytes())
    except ValueError as error:
        raise UsageError(f"run_config {path}: expected JSON, got {error}") from None
    kind, groups = (config.get(key) if isinstance(config, dict) else None for key in ("inputType", "inputDims"))
    if type(kind) is not int or kind not in (BY_ORDER, BY_NAME) or not isinstance(groups, list) or not groups:
        raise UsageError(f"run_config {path}: expected inputType 0 or 1 and groups of shapes in inputDims, got neither")
    return [_shapes(session, path, group, kind) for group in groups]


def _shapes(session: Session, path: Path, group: Any, kind: int) -> list[list[int]]:
    if kind == BY_NAME and isinstance(group, dict):
        names = [port.name for port in session.inputs]
        if set(group) != set(names):
            raise UsageError(f"run_config {path}: expected shapes of {', '.join(names)}, got {', '.join(group)}")
        group = [group[name] for name in names]
    if not isinstance(group, list) or not all(
        isinstance(shape, list) and all(type(size) is int for size in shape) for shape in group
    ):
        raise UsageError(f"run_config {path}: expected a list of numbers for each input, got {json.dumps(group)}")
    return group
