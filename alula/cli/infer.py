"""`alula infer`: predictions for a folder of pictures, as files."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from alula.cli.classifier import Predictions
from alula.cli.evaluation import class_names, evaluate, print_account
from alula.cli.options import add_images, add_json, add_model, add_threads, check_writable
from alula.cli.outputs import check_folder, write_together
from alula.cli.report import json_bytes, write_json
from alula.vision.names import ClassName

HELP = "predict every picture of a folder and write the results to files"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_model(parser)
    add_images(parser)
    parser.add_argument("--output-dir", type=Path, metavar="OUT", required=True, help="folder for the result files")
    add_threads(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Writes the result files, all of them or none, and prints the account; 1 if a picture failed."""
    check_writable(arguments.json)
    check_folder(arguments.output_dir)
    names = class_names(arguments)
    predictions, figures = evaluate(arguments, names, needs_labels=False)
    write_together(arguments.output_dir, result_files(predictions, names))
    print_account(predictions)
    print(f"results   {arguments.output_dir}")
    write_json(arguments.json, figures)
    return 1 if predictions.failures else 0


def result_files(predictions: Predictions, names: tuple[ClassName, ...]) -> dict[str, bytes]:
    """File name -> content.  A line of the text files is one predicted picture, in the order of the list."""
    listed, order = predictions.listed, sorted(predictions.classes)
    labels = [f"{listed[index].name} {listed[index].label}" for index in order if listed[index].label is not None]
    first = [f"{listed[index].name} {predictions.classes[index][0]}" for index in order]
    five = [" ".join([listed[index].name, *map(str, predictions.classes[index])]) for index in order]
    return {
        "eval_labels.txt": _lines(labels),
        "eval_result_1.txt": _lines(first),
        "eval_result_5.txt": _lines(five),
        "predictions.json": json_bytes([_entry(predictions, index, names) for index in range(len(listed))]),
    }


def _lines(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def _entry(predictions: Predictions, index: int, names: tuple[ClassName, ...]) -> dict[str, Any]:
    picture = predictions.listed[index]
    entry: dict[str, Any] = {"name": picture.name}
    if picture.label is not None:
        entry["label"] = picture.label
    if index in predictions.failures:
        return entry | {"error": predictions.failures[index]}
    entry["classes"] = predictions.classes[index].tolist()
    if names:
        entry["names"] = [names[number].text for number in entry["classes"]]
    entry["scores"] = predictions.scores[index].tolist()
    entry["probabilities"] = predictions.probabilities[index].tolist()
    return entry
