"""`alula classify`: what is on a picture."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

from alula.cli.classifier import TOP, Classifier, open_classifier, probabilities
from alula.cli.evaluation import check_names, class_names
from alula.cli.options import add_json, add_model, add_names, add_threads, check_writable
from alula.cli.report import bar, write_json
from alula.core.errors import ImageError
from alula.vision.folder import Picture
from alula.vision.metrics import ranked
from alula.vision.names import ClassName
from alula.vision.stream import prepare

HELP = "the five likeliest classes of pictures"


def configure(parser: argparse.ArgumentParser) -> None:
    """Adds the command's options."""
    add_model(parser)
    parser.add_argument("pictures", type=Path, nargs="+", metavar="picture.jpg", help="pictures to classify")
    add_names(parser)
    add_threads(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Prints five classes a picture, with bars and milliseconds; 1 if a picture failed."""
    check_writable(arguments.json)
    names = class_names(arguments)
    results: list[dict[str, Any]] = []
    with open_classifier(arguments.model, arguments.threads) as classifier:
        check_names(names, classifier.classes)
        for path in arguments.pictures:
            results.append(_classified(classifier, path, names))
            _print_result(results[-1])
    write_json(arguments.json, {"model": arguments.model.name, "pictures": results})
    return 1 if any("error" in result for result in results) else 0


def _classified(classifier: Classifier, path: Path, names: tuple[ClassName, ...]) -> dict[str, Any]:
    began = perf_counter()
    try:
        inputs = prepare(Picture(str(path), path), classifier.contract)[None]
    except ImageError as error:
        return {"name": str(path), "error": str(error)}
    decoded = perf_counter()
    scores = classifier.scores(inputs)
    done = perf_counter()
    best = ranked(scores, TOP)[0]
    return {
        "name": str(path),
        "classes": best.tolist(),
        "names": [names[number].text if names else f"class {number}" for number in best],
        "probabilities": probabilities(scores)[0, best].tolist(),
        "decode_ms": (decoded - began) * 1e3,
        "model_ms": (done - decoded) * 1e3,
    }


def _print_result(result: dict[str, Any]) -> None:
    if "error" in result:
        print(f"error: {result['error']}", file=sys.stderr)
        return
    print(f"{result['name']}  {result['model_ms']:.1f} ms (and {result['decode_ms']:.1f} ms to decode)")
    for name, share in zip(result["names"], result["probabilities"], strict=True):
        print(f"  {share:7.2%} {bar(share)} {name}")
