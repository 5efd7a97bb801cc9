"""The models that Alula knows by name: how each is made, what its pictures go through, where its weights are.

Source of the file names: the table of models in the README of https://github.com/sail-sg/volo, release `volo_1`.  No
digest or size of these files is published, so a fetched one is held to its architecture instead.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from alula.core.errors import UsageError
from alula.core.preprocess import Preprocess, imagenet
from alula.models import cifar10, digits, volo
from alula.models.checkpoints import load_weights, packaged_checkpoint, read_checkpoint
from alula.models.volo import Volo, VoloConfig

RELEASE = "https://github.com/sail-sg/volo/releases/download/volo_1"


@dataclass(frozen=True, slots=True)
class Entry:
    """One named architecture; `files` are its published checkpoints by image size in pixels.

    `weights` is the checkpoint that comes with the package, `contract` what its pictures went through in training.
    """

    name: str
    config: VoloConfig
    files: dict[int, str] = field(default_factory=dict)
    weights: str | None = None
    contract: Preprocess | None = None
    crop_fraction: float = 0.96  # of the shorter side, as the release evaluates it; above 1 there is a black border

    def build(self, image_size: int | None = None, num_classes: int | None = None) -> Volo:
        """A freshly initialised model in evaluation mode; None takes what the architecture was published with."""
        size, classes = image_size or self.config.image_size, num_classes or self.config.num_classes
        return Volo(replace(self.config, image_size=size, num_classes=classes)).eval()

    def preprocess(self, image_size: int) -> Preprocess:
        """What turns a picture into this model's input of `image_size` pixels."""
        if self.contract is not None:
            return replace(self.contract, crop=image_size, resize=image_size)
        return imagenet(image_size, self.crop_fraction)

    def file_for(self, image_size: int) -> str:
        """The published checkpoint's file name.  Raises UsageError where none is published."""
        if not self.files:
            raise UsageError(f"{self.name}: expected a model whose checkpoint is published, got one that Alula brings")
        if image_size not in self.files:
            raise UsageError(f"{self.name} image size: expected one of {sorted(self.files)}, got {image_size}")
        return self.files[image_size]


ZOO = {
    entry.name: entry
    for entry in (
        Entry("volo_d1", volo.D1, {224: "d1_224_84.2.pth.tar", 384: "d1_384_85.2.pth.tar"}),
        Entry("volo_d2", volo.D2, {224: "d2_224_85.2.pth.tar", 384: "d2_384_86.0.pth.tar"}),
        Entry("volo_d3", volo.D3, {224: "d3_224_85.4.pth.tar", 448: "d3_448_86.3.pth.tar"}),
        Entry("volo_d4", volo.D4, {224: "d4_224_85.7.pth.tar", 448: "d4_448_86.79.pth.tar"}, crop_fraction=1.15),
        Entry(
            "volo_d5",
            volo.D5,
            {224: "d5_224_86.10.pth.tar", 448: "d5_448_87.0.pth.tar", 512: "d5_512_87.07.pth.tar"},
            crop_fraction=1.15,
        ),
        Entry("volo_digits", digits.DIGITS, weights=digits.WEIGHTS, contract=digits.PREPROCESS),
        Entry("volo_cifar10", cifar10.CIFAR10, weights=cifar10.WEIGHTS, contract=cifar10.PREPROCESS),
    )
}


def entry_named(name: str) -> Entry:
    """The entry called `name`.  Raises UsageError, naming all of them, when there is none."""
    if name not in ZOO:
        raise UsageError(f"model: expected one of {', '.join(ZOO)}, got {name!r}")
    return ZOO[name]


@dataclass(frozen=True, slots=True)
class ReadyModel:
    """A module with its weights, its pictures' contract, where the weights are from, and what to tell the user."""

    module: Volo
    preprocess: Preprocess
    provenance: dict[str, str | int]
    notes: list[str]


def ready_model(
    name: str,
    checkpoint: Path | None = None,
    image_size: int | None = None,
    num_classes: int | None = None,
    seed: int = 0,
) -> ReadyModel:
    """The model called `name` with the weights of `checkpoint`, else the package's, else random ones from `seed`.

    Without `image_size` and `num_classes` it has the checkpoint's, else the architecture's.  Given ones win: positions
    are resized, heads of another class count drawn afresh.  Leaves torch's random numbers as they were.
    Raises UsageError for an unknown name or size, CheckpointError for a file that does not fit.
    """
    entry = entry_named(name)
    packaged = packaged_checkpoint(entry.weights) if entry.weights and not checkpoint else None
    weights = read_checkpoint(checkpoint) if checkpoint else packaged
    size, classes = image_size, num_classes
    if weights is not None:
        size = size or weights.image_size(entry.config.patch_size)
        classes = classes or weights.num_classes
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = entry.build(size, classes)
    provenance: dict[str, str | int] = {
        "model": name,
        "image_size": module.config.image_size,
        "num_classes": module.config.num_classes,
    }
    if weights is None:
        provenance["weights"] = f"random weights, seed {seed}"
        notes = [
            f"{name}: random weights (seed {seed}), so its answers mean nothing; --checkpoint FILE gives trained ones"
        ]
    else:
        provenance |= {"weights": weights.file_name, "sha256": weights.sha256}
        notes = load_weights(module, weights, new_heads=num_classes is not None, seed=seed)
        provenance |= {"changes": "; ".join(notes)} if notes else {}
    return ReadyModel(module, entry.preprocess(module.config.image_size), provenance, notes)
