"""`alula eval`: how often a model is right on a folder of pictures."""

from __future__ import annotations

import argparse

from alula.cli.evaluation import class_names, evaluate, print_account
from alula.cli.options import add_images, add_json, add_model, add_threads, check_writable
from alula.cli.report import write_json

HELP = "top-1 and top-5 accuracy and images/s on a folder of labelled pictures"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_model(parser)
    add_images(parser)
    add_threads(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints the figures; 1 if a picture failed."""
    check_writable(arguments.json)
    predictions, figures = evaluate(arguments, class_names(arguments), needs_labels=True)
    print_account(predictions)
    write_json(arguments.json, figures)
    return 1 if predictions.failures else 0
