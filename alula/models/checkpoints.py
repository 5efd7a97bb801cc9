"""Checkpoint files to weights in a VOLO: read safely, fitted to another size or class count, every misfit named."""

from __future__ import annotations

import argparse
import hashlib
import re
import warnings
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from alula.core.errors import CheckpointError
from alula.models.volo import INITIAL_STD, POOLING, Volo

POSITIONS = "pos_embed"
HEADS = ("head.weight", "head.bias", "aux_head.weight", "aux_head.bias")
WRAPPER = "state_dict"
PREFIX = "module."  # what DataParallel puts before every name
COUNTER = "num_batches_tracked"  # training's bookkeeping; early PyTorch did not save it
NAMED_AT_MOST = 4


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The tensors of one file by their plain names, with the file's own name (no folder) and SHA-256."""

    file_name: str
    sha256: str
    tensors: dict[str, Tensor]

    @property
    def num_classes(self) -> int | None:
        """How many classes its head tells apart; None without a head."""
        head = self.tensors.get("head.bias")
        return None if head is None or head.ndim != 1 else head.shape[0]

    def image_size(self, patch_size: int) -> int | None:
        """The side in pixels of the images it was trained on; None without a square position embedding."""
        positions = self.tensors.get(POSITIONS)
        if positions is None or positions.ndim != 4 or positions.shape[1] != positions.shape[2]:
            return None
        return positions.shape[1] * patch_size * POOLING


def read_checkpoint(path: Path) -> Checkpoint:
    """What the file at `path` holds: a state dict, plain or under `state_dict`, with or without `module.` names.

    Nothing but tensors and plain values is unpickled (`weights_only`).  Raises CheckpointError for anything else.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"checkpoint {path}: expected a readable file, got {error.strerror or error}") from error
    content = _unpickled(path)
    if isinstance(content, dict) and isinstance(content.get(WRAPPER), dict):
        content = content[WRAPPER]
    if not isinstance(content, dict) or not content:
        raise CheckpointError(f"checkpoint {path}: expected a state dict, got {_kind(content)}")
    for name, tensor in content.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise CheckpointError(
                f"checkpoint {path}: expected a tensor for every name, got {_kind(tensor)} at {name!r}"
            )
    return Checkpoint(path.name, digest, {name.removeprefix(PREFIX): tensor for name, tensor in content.items()})


def packaged_checkpoint(file_name: str) -> Checkpoint:
    """The checkpoint of that name that comes with the package."""
    with as_file(files("alula.models") / "data" / file_name) as path:
        return read_checkpoint(path)


def load_weights(model: Volo, checkpoint: Checkpoint, new_heads: bool = False, seed: int = 0) -> list[str]:
    """Puts the checkpoint's weights into `model`; what had to be changed to fit, as sentences for the user.

    A position embedding of another grid is resized.  Heads of another class count stay an error unless `new_heads`,
    which draws them afresh from `seed`.  Raises CheckpointError naming what is missing, unexpected or misshapen.
    """
    tensors, notes = dict(checkpoint.tensors), []
    if _other_grid(tensors.get(POSITIONS), model.pos_embed):
        old, new = tensors[POSITIONS].shape[1], model.config.grid
        tensors[POSITIONS] = resized_positions(tensors[POSITIONS], new)
        notes.append(f"{checkpoint.file_name}: position embedding resized from {old}x{old} to {new}x{new}")
    classes = model.config.num_classes
    if new_heads and checkpoint.num_classes not in (None, classes):
        tensors |= _fresh_heads(model, seed)
        notes.append(
            f"{checkpoint.file_name}: its heads for {checkpoint.num_classes} classes are dropped; "
            f"those for {classes} classes are random (seed {seed}) and want training"
        )
    check_fit(model, tensors, checkpoint.file_name)
    model.load_state_dict(tensors, strict=False)  # only `COUNTER`s can still be missing
    return notes


def resized_positions(positions: Tensor, grid: int) -> Tensor:
    """positions[1,grid,grid,c] from positions[1,g,g,c]: bicubic, corners not aligned, as the authors' release does."""
    channels_first = positions.float().permute(0, 3, 1, 2)
    resized = functional.interpolate(channels_first, size=(grid, grid), mode="bicubic", align_corners=False)
    return resized.permute(0, 2, 3, 1).contiguous()


def check_fit(model: Volo, tensors: dict[str, Tensor], file_name: str) -> None:
    """Raises CheckpointError, naming every misfit, unless `tensors` are the entries of `model` in name and shape."""
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    missing = [name for name in wanted if name not in tensors and not name.endswith(COUNTER)]
    unexpected = [name for name in tensors if name not in wanted]
    misshapen = [
        f"{name} {list(tensor.shape)} instead of {list(wanted[name])}"
        for name, tensor in tensors.items()
        if name in wanted and tuple(tensor.shape) != wanted[name]
    ]
    kinds = (("missing", missing), ("unexpected", unexpected), ("misshapen", misshapen))
    found = "; ".join(f"{len(names)} {kind} ({_named(names)})" for kind, names in kinds if names)
    if found:
        shape = f"{model.config.image_size} pixels and {model.config.num_classes} classes"
        expected = f"the {len(wanted)} entries of this VOLO for {shape}"
        raise CheckpointError(f"checkpoint {file_name}: expected {expected}, got {found}")


def _unpickled(path: Path) -> object:
    try:
        # Some keep their training options, a Namespace, beside the weights.
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings(action="ignore"):
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damage surfaces as whatever the zip or pickle reader trips over
        found = _found_instead(path, error)
        raise CheckpointError(f"checkpoint {path}: expected tensors saved by PyTorch, got {found}") from error


def _found_instead(path: Path, error: Exception) -> str:
    if not path.stat().st_size:
        return "an empty file"
    if refused := re.search(r"GLOBAL (\S+)", str(error)):
        return f"a pickle that also wants {refused[1]}, which is not loaded for safety"
    return "a damaged file or one of another kind"


def _kind(value: object) -> str:
    return "an empty dict" if value == {} else type(value).__name__


def _other_grid(positions: Tensor | None, wanted: Tensor) -> bool:
    """Whether `positions` is a square grid [1,g,g,c] of the wanted width but another size."""
    if positions is None or positions.ndim != 4 or positions.shape == wanted.shape:
        return False
    return positions.shape[1] == positions.shape[2] > 0 and positions.shape[::3] == wanted.shape[::3]


def _fresh_heads(model: Volo, seed: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = model.state_dict()
    heads = {name: torch.zeros_like(state[name]) for name in HEADS}
    for name in HEADS[::2]:
        nn.init.trunc_normal_(heads[name], std=INITIAL_STD, generator=generator)
    return heads


def _named(names: list[str]) -> str:
    rest = len(names) - NAMED_AT_MOST
    return ", ".join(names[:NAMED_AT_MOST]) + (f" and {rest} more" if rest > 0 else "")
