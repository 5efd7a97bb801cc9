"""`alula build`: a trained model -> one offline model file."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from alula.cli.calibration import (
    AT_A_TIME,
    Inputs,
    calibration_pictures,
    found_calibration,
    picture_contract,
    report_calibration,
    spread_pictures,
    warn_of_shared,
)
from alula.cli.options import (
    ACTIVATIONS,
    ALGORITHMS,
    ALL,
    PRECISIONS,
    QUANTISED,
    REFERENCE,
    WEIGHTS,
    add_dim_range,
    add_json,
    check_writable,
    duration,
    points,
    positive,
    truth,
)
from alula.cli.progress import stage
from alula.cli.report import write_json
from alula.cli.sources import KINDS, check_source, imported
from alula.core.errors import UsageError
from alula.core.preprocess import NAMED, Preprocess, named_preprocess

if TYPE_CHECKING:
    from alula.compiler import BuildConfig
    from alula.ir.graph import Graph
    from alula.quant.calibration import Calibration
    from alula.vision.folder import Picture

HELP = "build an offline model file from a PyTorch, ONNX or TensorFlow model"
CALIBRATION_NUM, EVAL_NUM = 64, 256
SEARCH_S = 600.0
NO_OTHERS: Mapping[str, Any] = MappingProxyType({})


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    parser.add_argument(
        "model",
        type=Path,
        metavar="MODEL",
        help=KINDS,
    )
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="M.alula", help="model file to write")
    parser.add_argument(
        "--precision", default=REFERENCE, metavar="P", help=f"{', '.join(PRECISIONS)} or {ALL} (default: {REFERENCE})"
    )
    parser.add_argument(
        "--shape-mutable", type=truth, default=True, metavar="true|false", help="serve every batch (true)"
    )
    parser.add_argument("--batch-size", type=positive, default=1, metavar="B", help="batch to tune for, or to fix (1)")
    add_dim_range(parser)
    parser.add_argument("--target", default="native", metavar="T", help="processor to build for (native: this one)")
    parser.add_argument(
        "--preprocess", metavar="P", help=f"{', '.join(NAMED)} or a JSON file (default: what the program carries)"
    )
    parser.add_argument("--no-fold-normalisation", action="store_true", help="take normalised float32, not pictures")
    _add_pictures(parser)
    _add_scheme(parser)
    add_json(parser)


def _add_pictures(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--calibration-dir", type=Path, metavar="DIR", help="pictures that show what range activations have, for qint8"
    )
    parser.add_argument(
        "--calibration-num",
        type=positive,
        default=CALIBRATION_NUM,
        metavar="N",
        help=f"how many of them, spread over the folder ({CALIBRATION_NUM})",
    )
    parser.add_argument(
        "--eval-dir", type=Path, metavar="DIR", help="pictures to compare precisions on (default: the calibration's)"
    )
    parser.add_argument(
        "--eval-num",
        type=positive,
        metavar="N",
        help=f"how many of them, spread over the folder ({EVAL_NUM}; for --max-drop all)",
    )
    parser.add_argument("--label-file", type=Path, metavar="F", help="lines of `name label`, for --max-drop")
    parser.add_argument(
        "--max-drop",
        type=points,
        metavar="D",
        help="leave as many products in float as it takes to lose at most D points of top-1 (without labels: answers)",
    )
    parser.add_argument("--time", type=duration, metavar="T", help="how long to search for that, as 90s or 10m (10m)")


def _add_scheme(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--calibration", type=Path, metavar="FILE", help="what an earlier build's pictures showed")
    parser.add_argument("--save-calibration", type=Path, metavar="FILE", help="write what the pictures showed, as JSON")
    parser.add_argument(
        "--calibration-algorithm",
        choices=ALGORITHMS,
        metavar="A",
        help=f"how ranges are chosen: {', '.join(ALGORITHMS)}",
    )
    parser.add_argument("--activations", choices=ACTIVATIONS, metavar="A", help=f"levels: {', '.join(ACTIVATIONS)}")
    parser.add_argument(
        "--measure", action="store_true", help="time products in bytes and in float, and leave in float what is slower"
    )
    parser.add_argument("--weights", choices=WEIGHTS, metavar="W", help=f"scales: {', '.join(WEIGHTS)}")


def run(arguments: argparse.Namespace) -> int:
    """Writes the model file, whole or not at all, and prints what it is; 1 if a picture could not be read."""
    import alula

    check_writable(arguments.output)
    check_writable(arguments.json)
    check_writable(arguments.save_calibration)
    check_source(arguments.model)
    config = _config(arguments)
    calibrating, comparing = _pictures(arguments)
    began = perf_counter()
    with stage(f"importing {arguments.model.name}"):
        graph = imported(arguments.model, arguments.dim_range and tuple(arguments.dim_range))
    config = replace(config, preprocess=contract(arguments.preprocess, arguments.model, graph))
    warn_of_shared(calibrating, comparing)
    inputs = _inputs(config, calibrating, comparing, AT_A_TIME if graph.symbols else config.batch_size)
    calibration = found_calibration(arguments, graph, config, inputs)
    if arguments.max_drop is not None:
        from alula.cli.budget import build_within

        figures = build_within(arguments, graph, config, calibration, comparing)
        code = _report(arguments, (perf_counter() - began) * 1e3, inputs, {"budget": figures})
        return code if figures["met"] and not figures["failures"] else 1
    if arguments.precision == ALL:
        from alula.cli.compare import compare

        return compare(arguments, graph, config, calibration, report_calibration(inputs), comparing)
    if arguments.measure:
        with stage("timing products in bytes and in float"):
            config = _measured(graph, config, calibration)
    with stage(f"building {arguments.output.name}"):
        model = alula.build(graph, config, calibration)
    with stage(f"saving {arguments.output.name}"):
        model.save(arguments.output)
    return _report(arguments, (perf_counter() - began) * 1e3, inputs)


def _measured(graph: Graph, config: BuildConfig, calibration: Calibration | None) -> BuildConfig:
    """What to build so that products that take longer in bytes than in float stay in float."""
    from alula.analysis.budget import slower
    from alula.analysis.mixes import Mixes, mix_times
    from alula.cli.inputs import random_inputs

    mixes = Mixes(graph, config, calibration)
    kept = slower(*mix_times(mixes, lambda session: random_inputs(session, config.batch_size)))
    return mixes.config(kept)


def _config(arguments: argparse.Namespace) -> BuildConfig:
    import alula

    chosen = {
        "algorithm": arguments.calibration_algorithm,
        "activations": arguments.activations,
        "weights": arguments.weights,
    }
    return alula.BuildConfig(
        precision=REFERENCE if arguments.precision == ALL else arguments.precision,
        fold_normalisation=not arguments.no_fold_normalisation,
        target=arguments.target,
        shape_mutable=arguments.shape_mutable,
        batch_size=arguments.batch_size,
        scheme=alula.Scheme(**{name: choice for name, choice in chosen.items() if choice is not None}),
    )


def _pictures(arguments: argparse.Namespace) -> tuple[tuple[Picture, ...], tuple[Picture, ...]]:
    """Pictures to calibrate with, and to compare precisions on."""
    every, budget = arguments.precision == ALL, arguments.max_drop is not None
    if budget and not arguments.precision.startswith(QUANTISED):
        raise UsageError(f"--max-drop: expected a qint8 precision, got {arguments.precision}")
    if arguments.eval_dir is not None and not every and not budget:
        raise UsageError(f"--eval-dir: expected --precision {ALL} or --max-drop, got {arguments.precision}")
    if arguments.measure and (budget or not arguments.precision.startswith(QUANTISED)):
        raise UsageError("--measure: expected a qint8 precision without --max-drop, which measures by itself")
    for option in ("label_file", "time"):
        if getattr(arguments, option) is not None and not budget:
            raise UsageError(f"--{option.replace('_', '-')}: expected --max-drop, got none")
    calibrating = calibration_pictures(arguments, every or arguments.precision.startswith(QUANTISED))
    if budget:
        from alula.cli.budget import evaluation_pictures

        arguments.time = arguments.time or SEARCH_S
        return calibrating, evaluation_pictures(arguments)
    folder = arguments.eval_dir or arguments.calibration_dir
    return calibrating, spread_pictures(folder, arguments.eval_num or EVAL_NUM) if every and folder else ()


def _inputs(
    config: BuildConfig, calibrating: tuple[Picture, ...], comparing: tuple[Picture, ...], at_a_time: int
) -> Inputs | None:
    """Raises UsageError where there are pictures and the model does not say how it takes them."""
    if not calibrating and not comparing:
        return None
    contract = picture_contract(config.preprocess, config.fold_normalisation)
    return Inputs(calibrating, contract, at_a_time) if calibrating else None


def _report(
    arguments: argparse.Namespace, build_ms: float, inputs: Inputs | None, others: Mapping[str, Any] = NO_OTHERS
) -> int:
    from alula.runtime.summary import summary

    with stage(f"generating code for {arguments.output.name}"):  # and keeping it, so that the first load is quick
        facts = summary(arguments.output)
    size, steps = facts["bytes"]["file"], sum(kernel["count"] for kernel in facts["kernels"])
    print(
        f"{arguments.output}: {size / 1e6:.1f} MB, {steps} kernels, {facts['precision']} for {facts['target']}, "
        f"built in {build_ms / 1e3:.1f} s"
    )
    takes = ", ".join(map(_takes, facts["inputs"]))
    least, most = facts["batch_range"]
    open_too = "".join(f", {name} from {low} to {high}" for name, (low, high) in facts["size_ranges"].items())
    batches = f"N from {least} to {most}" if least < most else f"N = {least} alone"
    print(f"takes {takes} with {batches}{open_too}")
    calibrated = report_calibration(inputs)
    figures = {
        "output": arguments.output.name,
        "precision": facts["precision"],
        "bytes": size,
        "build_ms": build_ms,
        "kernels": steps,
        "calibration": calibrated,
    }
    write_json(arguments.json, {**figures, **others})
    return 1 if calibrated and calibrated["failed"] else 0


def _takes(port: Mapping[str, Any]) -> str:
    return f"{port['name']} {port['type']}"


def contract(option: str | None, model: Path, graph: Graph) -> Preprocess | None:
    """The preprocessing contract of --preprocess, or the one that the exported program carries, if any."""
    if option is None:
        return graph.preprocess
    if option in NAMED:
        return named_preprocess(option, _picture_size(model, graph))
    return Preprocess.from_json(_json_file(Path(option)))


def _picture_size(model: Path, graph: Graph) -> int:
    shape = graph.inputs[0].type.shape
    side = shape[2] if len(shape) == 4 else None
    pictures = ((Preprocess.CHANNELS, side, side), (side, side, Preprocess.CHANNELS))
    if not isinstance(side, int) or shape[1:] not in pictures:
        raise UsageError(
            f"model {model}: expected an input [batch, 3, s, s] or [batch, s, s, 3] to preprocess for, "
            f"got {graph.inputs[0].type}"
        )
    return side


def _json_file(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = error.strerror or error
        raise UsageError(f"preprocess {path}: expected {', '.join(NAMED)} or a JSON file, got {reason}") from error
    except ValueError as error:
        raise UsageError(f"preprocess {path}: expected JSON, got {' '.join(str(error).split())}") from error
