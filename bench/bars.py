"""`python -m bench.bars`: the scores of every model beside PyTorch's, and equal bits for any batch and thread count."""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import alula
from alula.cli.options import add_json, check_writable
from alula.cli.progress import stage
from alula.cli.report import print_table, write_json
from alula.core.dtype import Array
from bench.command import DONE, WORK_FAILED, Parser, command, words

BATCHES = (1, 2, 7, 64)
THREADS = (1, 2, 4)
PYTORCH_BATCH = 8  # images that PyTorch gets at a time, for its memory's sake
COLUMNS = ("model", "batch", "error", "bar", "same class", "rows as alone", "held")


@dataclass(frozen=True, slots=True)
class Bar:
    """A model with random weights and how near its logits have to be to PyTorch's, relative to the largest."""

    model: str
    closest: float
    image_size: int = 224
    num_classes: int = 1000

    def __str__(self) -> str:
        return f"{self.model}, {self.image_size} pixels, {self.num_classes} classes"


BARS = {
    "d1": Bar("volo_d1", 5e-6),
    "d2": Bar("volo_d2", 5e-6),
    "d3": Bar("volo_d3", 5e-6),
    "d2-10": Bar("volo_d2", 5e-6, num_classes=10),
    "d1-384": Bar("volo_d1", 1e-5, image_size=384),
}


def arguments(given: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = Parser(prog="python -m bench.bars", description=__doc__)
    parser.add_argument(
        "--models", default=list(BARS), type=words(list(BARS)), metavar="A,B", help=f"({','.join(BARS)})"
    )
    add_json(parser)
    return parser.parse_args(given)


def main(given: Sequence[str]) -> int:
    """Measures and prints; 1 where a bar was missed."""
    options = arguments(given)
    check_writable(options.json)
    results: list[dict[str, Any]] = []
    for name in options.models:
        with stage(str(BARS[name])):
            results += measured(BARS[name])
        gc.collect()  # the next model needs the memory
    print_table(
        "error: max abs difference / max abs logit, against PyTorch", COLUMNS, [row(result) for result in results]
    )
    write_json(options.json, {"results": results})
    return DONE if all(result["held"] for result in results) else WORK_FAILED


def measured(bar: Bar) -> list[dict[str, Any]]:
    """One result for each batch, then one for the thread counts."""
    import torch

    from alula.models.zoo import ready_model

    module = ready_model(bar.model, image_size=bar.image_size, num_classes=bar.num_classes).module
    size = bar.image_size
    images = np.random.default_rng(0).standard_normal((max(BATCHES), 3, size, size), np.float32)
    with torch.inference_mode():
        parts = [module(torch.from_numpy(part)).numpy() for part in np.split(images, len(images) // PYTORCH_BATCH)]
    expected = np.concatenate(parts)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.alula")
        alula.build(alula.from_torch(module, (torch.zeros(1, 3, size, size),))).save(path)
        del module
        with alula.load(path) as session:
            alone = np.concatenate([session.run(images[n : n + 1])[0] for n in range(len(images))])
            runs = {batch: session.run(images[:batch])[0] for batch in (*reversed(BATCHES), *BATCHES)}
        results = [compared(bar, batch, runs[batch], expected[:batch], alone[:batch]) for batch in BATCHES]
        same = [np.array_equal(threaded(path, images[:3], count), alone[:3]) for count in THREADS]
    return [*results, {"model": str(bar), "threads": list(THREADS), "equal_bits": all(same), "held": all(same)}]


def compared(bar: Bar, batch: int, logits: Array, expected: Array, alone: Array) -> dict[str, Any]:
    """How one batch did."""
    error = float(np.abs(logits - expected).max() / np.abs(expected).max())
    same = int((logits.argmax(1) == expected.argmax(1)).sum())
    rows = np.array_equal(logits, alone)
    return {
        "model": str(bar),
        "batch": batch,
        "error": error,
        "bar": bar.closest,
        "same_class": same,
        "equal_bits": rows,
        "held": error <= bar.closest and same == batch and rows,
    }


def threaded(path: Path, images: Array, threads: int) -> Array:
    """The logits as `threads` threads compute them."""
    with alula.load(path, threads=threads) as session:
        return session.run(images)[0]


def row(result: dict[str, Any]) -> tuple[object, ...]:
    """A result as cells."""
    yes = {True: "equal bits", False: "OTHER BITS"}[result["equal_bits"]]
    held = "yes" if result["held"] else "NO"
    if "threads" in result:
        return (result["model"], "3", "", "", "", f"{yes} on {result['threads']} threads", held)
    error, bar, same = f"{result['error']:.1e}", f"{result['bar']:.0e}", f"{result['same_class']} of {result['batch']}"
    return (result["model"], str(result["batch"]), error, bar, same, yes, held)


if __name__ == "__main__":
    sys.exit(command(main))
