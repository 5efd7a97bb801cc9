"""`alula eval`: how often a model is right on a folder of pictures, and what differs from another model's answers."""

from __future__ import annotations

import argparse
from pathlib import Path

from alula.cli.classifier import open_classifier
from alula.cli.evaluation import class_names, evaluate, print_account
from alula.cli.options import add_images, add_json, add_model, add_threads, check_writable
from alula.cli.pairing import Pairing, print_pairing
from alula.cli.report import write_json

HELP = "top-1 and top-5 accuracy and images/s on a folder of labelled pictures; --against compares with another model"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_model(parser)
    add_images(parser)
    parser.add_argument(
        "--against", type=Path, metavar="R.alula", help="reference to compare with, picture by picture; labels optional"
    )
    add_threads(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the figures; 1 if a picture failed."""
    check_writable(arguments.json)
    if arguments.against is not None:
        return _compare(arguments)
    predictions, figures = evaluate(arguments, class_names(arguments), needs_labels=True)
    print_account(predictions)
    write_json(arguments.json, figures)
    return 1 if predictions.failures else 0


def _compare(arguments: argparse.Namespace) -> int:
    names = class_names(arguments)
    with open_classifier(arguments.against, arguments.threads) as reference:
        pairing = Pairing(reference, arguments.against.name)
        predictions, figures = evaluate(arguments, names, needs_labels=False, beside=pairing.beside)
        compared = pairing.figures(predictions)
    print_account(predictions, timed=False)
    print_pairing(compared, pairing.paired, names)
    write_json(arguments.json, figures | {"against": compared})
    return 1 if predictions.failures else 0
