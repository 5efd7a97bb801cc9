"""`alula explain`: of every product of a model file, its precision and why, what it costs and what it loses."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from alula.cli.inputs import random_inputs
from alula.cli.options import (
    add_dim_range,
    add_json,
    add_model,
    add_threads,
    check_batch_alone,
    check_writable,
    positive,
)
from alula.cli.progress import stage
from alula.cli.report import print_table, write_json
from alula.cli.sources import imported
from alula.cli.verify import readable
from alula.core.errors import UsageError

if TYPE_CHECKING:
    from alula.analysis.sensitivity import Sensitivity
    from alula.analysis.timing import Times
    from alula.artifact.model import ModelMeta
    from alula.ir.graph import Graph, Node

HELP = "precision of every product of a model file and why, milliseconds, and what each loses beside the float model"
IMAGES = 4
AT_A_TIME = 2
FLOAT = "force_float32"
SUFFIX = ".alula"
NEEDED = (
    "errors and float milliseconds take the float model and pictures: --reference F32.alula (or the .pt2 or .onnx that "
    "the file was built from) and --image-dir DIR"
)


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_model(parser)
    parser.add_argument(
        "--reference", type=Path, metavar="R", help="the model in force_float32, as a model file, .pt2, .pt or .onnx"
    )
    parser.add_argument("--image-dir", type=Path, metavar="DIR", help="pictures to measure errors on")
    parser.add_argument("--image-num", type=positive, default=IMAGES, metavar="N", help=f"how many of them ({IMAGES})")
    add_dim_range(parser)
    add_threads(parser)
    add_json(parser)


@dataclass(frozen=True, slots=True)
class Known:
    """What there is to say: sensitivities by label, the times of the file, and of the reference where there is one."""

    sensitivities: Mapping[str, Sensitivity]
    times: Times
    float_times: Times | None


def run(arguments: argparse.Namespace) -> int:
    """Prints a row for each product: what departs first, then by the share of the outputs' error."""
    from alula.artifact.reader import read_model

    check_writable(arguments.json)
    if (arguments.reference is None) != (arguments.image_dir is None):
        raise UsageError("explain: expected --reference and --image-dir together, got one of them")
    with read_model(arguments.model) as file:
        meta, graph = file.meta, file.graph()
    check_batch_alone(arguments.model, graph.open_sizes())
    known = _known(arguments, meta, graph)
    rows = _rows(graph, meta, known)
    _print(arguments.model.name, rows, known)
    figures = {"model": arguments.model.name, "precision": meta.precision, "ms": known.times.total_ms}
    float_ms = known.float_times.total_ms if known.float_times else None
    write_json(arguments.json, figures | {"float_ms": float_ms, "ops": rows})
    return 0


def _known(arguments: argparse.Namespace, meta: ModelMeta, graph: Graph) -> Known:
    import alula
    from alula.analysis.timing import product_times

    if arguments.reference is None:
        with alula.load(arguments.model, threads=arguments.threads) as session:
            inputs = random_inputs(session, session.tuned_batch)
            return Known({}, product_times([(session, graph)], inputs)[0], None)
    from alula.analysis.sensitivity import sensitivities
    from alula.artifact.reader import read_model

    if meta.preprocess is None:
        raise UsageError("--image-dir: expected a model that says how pictures become inputs, got none")
    least, most = meta.batch_range
    pictures = readable(arguments.image_dir, max(arguments.image_num, least), meta.preprocess)
    at_a_time = max(least, min(AT_A_TIME, most))
    batches = [[pictures[n : n + at_a_time]] for n in range(0, len(pictures) - at_a_time + 1, at_a_time)]
    with _reference(arguments, meta) as reference:
        with read_model(reference) as file:
            plain = file.graph()
        with (
            stage("timing both models"),
            alula.load(arguments.model, threads=arguments.threads) as session,
            alula.load(reference, threads=arguments.threads) as float_session,
        ):
            inputs = [batches[0][0][: session.tuned_batch]]
            times, float_times = product_times([(session, graph), (float_session, plain)], inputs)
        with stage("measuring each product's error"):
            found = sensitivities(graph, plain, batches)
    return Known({one.label: one for one in found}, times, float_times)


@contextmanager
def _reference(arguments: argparse.Namespace, meta: ModelMeta) -> Iterator[Path]:
    """The float model as a model file, built for a while where only its source is given."""
    import alula

    given = arguments.reference
    if given.suffix == SUFFIX:
        yield given
        return
    with tempfile.TemporaryDirectory() as folder:
        with stage(f"building {given.name} in {FLOAT}"):
            graph = imported(given, arguments.dim_range and tuple(arguments.dim_range))
            alula.build(graph, alula.BuildConfig(preprocess=meta.preprocess)).save(Path(folder, "float.alula"))
        yield Path(folder, "float.alula")


def _rows(graph: Graph, meta: ModelMeta, known: Known) -> list[dict[str, Any]]:
    from alula.analysis.verify import limit_of
    from alula.quant.products import labelled_products

    limit = limit_of(meta.precision)
    noise = sum(one.output_noise for one in known.sensitivities.values())
    rows = []
    for label, node in labelled_products(graph).items():
        one = known.sensitivities.get(label)
        departs = one is not None and (one.relative > limit.relative or one.channel > limit.channel)
        rows.append(_row(label, node, meta, known) | {"departs": departs} | _errors(one, noise))
    return sorted(rows, key=lambda row: (not row["departs"], -(row["output_share"] or 0.0)))


def _row(label: str, node: Node, meta: ModelMeta, known: Known) -> dict[str, Any]:
    from alula.analysis.explain import chosen, why

    return {
        "op": node.op.name,
        "origin": node.origin,
        "label": label,
        "precision": chosen(node),
        "why": why(label, node, meta.precision, meta.kept),
        "float_ms": known.float_times.ms.get(label) if known.float_times else None,
        "ms": known.times.ms.get(label),
    }


def _errors(one: Sensitivity | None, noise: float) -> dict[str, Any]:
    if one is None:
        return dict.fromkeys(("snr_db", "channel_error", "cosine", "output_share"))
    return {
        "snr_db": one.snr_db if isfinite(one.snr_db) else None,
        "channel_error": one.channel,
        "cosine": one.cosine,
        "output_share": one.output_noise / noise if noise else 0.0,
    }


def _print(name: str, rows: Sequence[Mapping[str, Any]], known: Known) -> None:
    columns = ("product", "precision", "float ms", "ms", "SNR dB", "cosine", "of output error", "why")
    print_table(f"{name}", columns, map(_cells, rows))
    float_ms = f", in float32 {known.float_times.total_ms:.3f} ms" if known.float_times else ""
    print(f"all steps {known.times.total_ms:.3f} ms{float_ms}")
    if not known.sensitivities:
        print(NEEDED)
    for row in rows:
        if row["departs"]:
            print(f"departs: {row['label']}: worst channel {row['channel_error']:.2g} of the product's size")


def _cells(row: Mapping[str, Any]) -> tuple[object, ...]:
    share = None if row["output_share"] is None else f"{row['output_share']:.1%}"
    snr = None if row["snr_db"] is None else f"{row['snr_db']:.1f}"
    cosine = None if row["cosine"] is None else f"{row['cosine']:.5f}"
    times = (None if row[key] is None else f"{row[key]:.3f}" for key in ("float_ms", "ms"))
    return row["label"], row["precision"], *times, snr, cosine, share, row["why"]
