"""What `infer` and `eval` share: a folder of pictures through a model file, and the account of how it went."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from typing import Any

from alula.cli.classifier import Classifier, Predictions, Watch, open_classifier, predict
from alula.cli.options import chosen_batch
from alula.cli.progress import progress
from alula.core.errors import UsageError
from alula.vision.folder import Picture, list_pictures
from alula.vision.metrics import Accuracy, accuracy
from alula.vision.names import ClassName, read_names

Beside = Callable[[Classifier, int], Watch]


def class_names(arguments: argparse.Namespace) -> tuple[ClassName, ...]:
    """The names of --name-file, none without it."""
    return read_names(arguments.name_file) if arguments.name_file else ()


def check_names(names: tuple[ClassName, ...], classes: int) -> None:
    """Raises UsageError for a name file of another number of classes."""
    if names and len(names) != classes:
        raise UsageError(f"name file: expected {classes} names, one for each class of the model, got {len(names)}")


def evaluate(
    arguments: argparse.Namespace, names: tuple[ClassName, ...], needs_labels: bool, beside: Beside | None = None
) -> tuple[Predictions, dict[str, Any]]:
    """Predictions for the pictures that the options name, and the figures of the run, JSON-ready.

    `beside` sees the classifier and its batch size first, and what it gives then watches every batch.
    """
    with open_classifier(arguments.model, arguments.threads) as classifier:
        check_names(names, classifier.classes)
        batch_size = chosen_batch(classifier.session, arguments.batch_size)
        pictures = _chosen(arguments, names, classifier.classes, needs_labels)
        watch = beside(classifier, batch_size) if beside else None
        with progress("images", len(pictures)) as shown:
            predictions = predict(classifier, pictures, batch_size, shown.advance, watch)
        return predictions, _figures(arguments, classifier, batch_size, predictions)


def _chosen(
    arguments: argparse.Namespace, names: tuple[ClassName, ...], classes: int, needs_labels: bool
) -> tuple[Picture, ...]:
    pictures = list_pictures(arguments.image_dir, arguments.label_file, names, classes)[: arguments.image_num]
    if needs_labels and any(picture.label is None for picture in pictures):
        where = arguments.image_dir
        raise UsageError(
            f"image folder {where}: expected class folders or a --label-file, got pictures without classes"
        )
    return pictures


def _figures(
    arguments: argparse.Namespace, classifier: Classifier, batch_size: int, predictions: Predictions
) -> dict[str, Any]:
    top1, top5 = accuracies(predictions)
    return {
        "model": arguments.model.name,
        "precision": classifier.session.precision,
        "batch_size": batch_size,
        "threads": classifier.session.threads,
        "listed": len(predictions.listed),
        "predicted": len(predictions.classes),
        "failed": len(predictions.failures),
        "top1": top1.to_json(),
        "top5": top5.to_json(),
        "seconds": predictions.elapsed_s,
        "compute_seconds": predictions.compute_s,
        "images_per_second": predictions.pictures_per_second,
        "failures": [
            {"name": predictions.listed[index].name, "error": reason}
            for index, reason in sorted(predictions.failures.items())
        ],
    }


def accuracies(predictions: Predictions) -> tuple[Accuracy, Accuracy]:
    """Top-1 and top-5 of the predicted pictures whose class is known."""
    best, labels = predictions.labelled()
    return accuracy(best[:, :1], labels), accuracy(best, labels)


def report_failures(reasons: Iterable[str]) -> None:
    """Names each failure on standard error."""
    for reason in reasons:
        print(f"error: {reason}", file=sys.stderr)


def print_account(predictions: Predictions, timed: bool = True) -> None:
    """Names each failure on standard error, then says how many pictures became what, and how fast if `timed`."""
    report_failures(reason for _, reason in sorted(predictions.failures.items()))
    listed, predicted, failed = len(predictions.listed), len(predictions.classes), len(predictions.failures)
    print(f"images    {listed} listed = {predicted} predicted + {failed} failed")
    if timed:
        speed = f"{predictions.pictures_per_second:.1f} images/s, decoding included"
        print(f"speed     {speed} ({predictions.elapsed_s:.2f} s)")
    top1, top5 = accuracies(predictions)
    if top1.total:
        print(f"top-1     {top1}")
        print(f"top-5     {top5}")
