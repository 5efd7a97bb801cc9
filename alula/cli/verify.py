"""`alula verify`: the source model, its graph, the optimised graph, the file and its machine code, op by op."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from alula.cli.options import QUANTISED, add_dim_range, add_json, check_batch_alone, check_writable, positive
from alula.cli.progress import stage
from alula.cli.report import print_table, write_json
from alula.cli.sources import is_onnx
from alula.core.dtype import Array, DType
from alula.core.errors import ImageError, UsageError
from alula.core.preprocess import Preprocess
from alula.frontends.tensorflow import is_tensorflow
from alula.vision.folder import list_pictures
from alula.vision.preprocess import normalised
from alula.vision.stream import prepare

if TYPE_CHECKING:
    from alula.analysis.verify import Stage
    from alula.analysis.walk import Checked
    from alula.artifact.model import ModelMeta
    from alula.frontends.traced import Traced
    from alula.ir.graph import Graph

HELP = "compare a model file with the model it was built from, op by op, and name the first op that departs"
IMAGES = 2
SHOWN = 10  # departing ops that are printed; the JSON holds every op


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument("source", type=Path, metavar="MODEL", help="what the file was built from (.pt2 or .onnx)")
    parser.add_argument("model", type=Path, metavar="M.alula", help="model file that `alula build` wrote")
    parser.add_argument("--image-dir", type=Path, metavar="DIR", help="pictures to compare on (default: noise)")
    parser.add_argument("--image-num", type=positive, default=IMAGES, metavar="N", help=f"how many of them ({IMAGES})")
    add_dim_range(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints a line for each stage and every op that departs; 1 where one does."""
    from alula.analysis.verify import stages
    from alula.artifact.reader import read_model

    check_writable(arguments.json)
    with read_model(arguments.model) as file:
        meta, graph = file.meta, file.graph()
        check_batch_alone(arguments.model, graph.open_sizes())
        plain, taken = _inputs(arguments, meta, graph)
        with stage(f"importing {arguments.source.name}"):
            traced = _traced(arguments)
        found = []
        coming = stages(traced, graph, meta.precision, meta.preprocess, plain, taken)
        for title in ("graph", "passes", "precision", "machine code"):
            with stage(f"comparing: {title}"):
                found.append(next(coming))
    print_table(
        f"{arguments.model.name} from {arguments.source.name}, {len(taken[0])} images",
        ("stage", "values", "worst error", "worst channel", "of", "verdict"),
        [_row(one) for one in found],
    )
    first = next((one for one in found if one.departing), None)
    print(_verdict(first))
    figures = {"model": arguments.model.name, "source": arguments.source.name, "images": len(taken[0])}
    write_json(arguments.json, figures | {"first": _first(first), "stages": [_figures(one) for one in found]})
    return 0 if first is None else 1


def _traced(arguments: argparse.Namespace) -> Traced:
    dim_range = arguments.dim_range and tuple(arguments.dim_range)
    if is_tensorflow(arguments.source):
        raise UsageError(f"verify {arguments.source}: expected a PyTorch or ONNX model, got a TensorFlow model")
    if is_onnx(arguments.source):
        from alula.frontends.onnx.traced import traced_onnx

        return traced_onnx(arguments.source, dim_range)
    from alula.frontends.torch.traced import traced_torch

    return traced_torch(arguments.source, dim_range)


def _inputs(arguments: argparse.Namespace, meta: ModelMeta, graph: Graph) -> tuple[list[Array], list[Array]]:
    """Inputs as the source takes them and as the file does: pictures, or noise without a folder of them."""
    count = min(max(arguments.image_num, meta.batch_range[0]), meta.batch_range[1])
    contract = meta.preprocess
    if arguments.image_dir is not None:
        if contract is None:
            raise UsageError("--image-dir: expected a model that says how pictures become inputs, got none")
        taken = [readable(arguments.image_dir, count, contract)]
    elif meta.precision.startswith(QUANTISED) and contract is not None:
        raise UsageError("verify: expected --image-dir, as ranges of bytes are those of pictures, got none")
    else:
        taken = _noise(graph, count)
    return [normalised(taken[0], contract), *taken[1:]] if contract and contract.folded else taken, taken


def _noise(graph: Graph, count: int) -> list[Array]:
    random = np.random.default_rng(0)
    shapes = [(value.type.at(dict.fromkeys(graph.symbols, count)), value.type.dtype) for value in graph.inputs]
    return [
        random.integers(0, 256, shape, np.uint8)
        if dtype is DType.U8
        else random.standard_normal(shape).astype(dtype.numpy)
        for shape, dtype in shapes
    ]


def readable(folder: Path, count: int, contract: Preprocess) -> Array:
    """The first `count` pictures of a folder that can be read, as inputs.  Raises UsageError where there are fewer."""
    pictures: list[Array] = []
    reason = "no more files"
    for picture in list_pictures(folder):
        try:
            pictures.append(prepare(picture, contract))
        except ImageError as error:
            reason = str(error)
        if len(pictures) == count:
            return np.stack(pictures)
    raise UsageError(f"image folder {folder}: expected {count} readable pictures, got {len(pictures)} ({reason})")


def label(one: Checked) -> str:
    """`linear blocks.3.mlp.fc1 volo.py:93`: op and where it came from."""
    return f"{one.node.op.name} {one.node.origin}".rstrip()


def _row(one: Stage) -> Sequence[object]:
    worst = one.worst
    verdict = "holds" if not one.departing else f"{len(one.departing)} depart"
    if worst is None:
        return one.title, 0, None, None, None, verdict
    return one.title, len(one.checked), worst.local.relative, worst.local.channel, label(worst), verdict


def _verdict(stage: Stage | None) -> str:
    if stage is None:
        return "every op does what the model it came from does, within the limits of its stage"
    lines = [f"first to depart, {stage.title}: {_error(stage.departing[0])}"]
    lines += [f"  then {_error(one)}" for one in stage.departing[1:SHOWN]]
    if len(stage.departing) > SHOWN:
        lines.append(f"  and {len(stage.departing) - SHOWN} more")
    return "\n".join(lines)


def _error(one: Checked) -> str:
    return (
        f"{label(one)}: error {one.local.relative:.2g} of its size, worst channel {one.local.channel:.2g}, "
        f"on operands that are right"
    )


def _first(stage: Stage | None) -> dict[str, Any] | None:
    return None if stage is None else {"stage": stage.title, **_entry(stage.departing[0])}


def _figures(stage: Stage) -> dict[str, Any]:
    departing = set(map(id, stage.departing))
    ops = [_entry(one) | {"departs": id(one) in departing} for one in stage.checked]
    return {"stage": stage.title, "limit": stage.limit.relative, "channel_limit": stage.limit.channel, "ops": ops}


def _entry(one: Checked) -> dict[str, Any]:
    return {
        "op": one.node.op.name,
        "origin": one.node.origin,
        "type": str(one.value.type),
        "error": _finite(one.local.relative),
        "channel_error": _finite(one.local.channel),
        "cosine": one.local.cosine,
        "accumulated_error": _finite(one.accumulated.relative),
    }


def _finite(value: float) -> float | None:
    return value if value < inf else None
