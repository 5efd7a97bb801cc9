"""`alula export`: a VOLO, trained or random, as a `.pt2` file that `alula build` takes."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from alula.cli.options import check_writable, positive
from alula.cli.progress import stage

if TYPE_CHECKING:
    from alula.models.zoo import ReadyModel

HELP = "write a VOLO as an exported PyTorch program (.pt2) with its preprocessing contract"
PREPROCESS_FILE = "alula_preprocess.json"
PROVENANCE_FILE = "alula_provenance.json"


def configure(parser: argparse.ArgumentParser) -> None:
    """Declares the command's arguments."""
    parser.add_argument("model", metavar="MODEL", help="volo_d1 to volo_d5, volo_digits or volo_cifar10")
    parser.add_argument(
        "--checkpoint", type=Path, metavar="F", help="trained weights, as published (default: random ones, seed 0)"
    )
    parser.add_argument(
        "--image-size", type=positive, metavar="S", help="pixels along a side (default: the checkpoint's, else 224)"
    )
    parser.add_argument(
        "--num-classes",
        type=positive,
        metavar="C",
        help="classes (default: the checkpoint's, else 1000); heads for another number of them are drawn afresh",
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="where to (default: MODEL.pt2)")


def run(arguments: argparse.Namespace) -> int:
    """Exports and says what was done; 0."""
    output = arguments.output or Path(f"{arguments.model}.pt2")
    check_writable(output)
    with stage(f"making {arguments.model}"):
        ready = _ready(arguments)
    for note in ready.notes:
        print(f"note: {note}")
    with stage(f"exporting {arguments.model}"):
        _export(ready, output)
    config = ready.module.config
    count = sum(parameter.numel() for parameter in ready.module.parameters())
    print(
        f"{output}: {arguments.model}, {count / 1e6:.1f} M parameters, {config.image_size} pixels, "
        f"{config.num_classes} classes, {ready.provenance['weights']}"
    )
    return 0


def _ready(arguments: argparse.Namespace) -> ReadyModel:
    from alula.models import zoo

    return zoo.ready_model(arguments.model, arguments.checkpoint, arguments.image_size, arguments.num_classes)


def _export(ready: ReadyModel, output: Path) -> None:
    import torch

    from alula.frontends.torch.export import export_program, save_program

    size = ready.module.config.image_size
    program = export_program(ready.module, (torch.zeros(1, 3, size, size),))
    extra = {PREPROCESS_FILE: json.dumps(ready.preprocess.to_json()), PROVENANCE_FILE: json.dumps(ready.provenance)}
    save_program(program, output, extra)
