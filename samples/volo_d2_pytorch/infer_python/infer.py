"""The classes of a folder's pictures, by a model file, in the files that infer_cpp writes too."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "utils"))

from command import command, finish

from alula.cli.classifier import Predictions, open_classifier, predict
from alula.cli.evaluation import check_names, print_account
from alula.cli.infer import result_files
from alula.cli.options import check_writable, chosen_batch
from alula.cli.progress import progress
from alula.core.files import atomic_write
from alula.vision.folder import list_pictures
from alula.vision.names import ClassName, read_names

RESULTS = {
    "result_file": "where five classes and scores a picture go",
    "result_label_file": "where labels go",
    "result_top1_file": "where the likeliest classes go",
    "result_top5_file": "where the five likeliest classes go",
}


def main(words: Sequence[str]) -> int:
    """Writes the result files; 1 if a picture could not be predicted."""
    arguments = _arguments(words)
    for result in RESULTS:
        check_writable(getattr(arguments, result))
    names = read_names(arguments.name_file) if arguments.name_file else ()
    with open_classifier(arguments.magicmind_model, None) as classifier:
        check_names(names, classifier.classes)
        batch_size = chosen_batch(classifier.session, arguments.batch_size or None)
        listed = list_pictures(arguments.image_dir, arguments.label_file, names, classifier.classes)
        pictures = listed[: arguments.image_num or None]
        with progress("images", len(pictures)) as shown:
            predictions = predict(classifier, pictures, batch_size, shown.advance)
    files = result_files(predictions, names)
    contents = {
        "result_file": _result(predictions, names),
        "result_label_file": files["eval_labels.txt"],
        "result_top1_file": files["eval_result_1.txt"],
        "result_top5_file": files["eval_result_5.txt"],
    }
    for result, content in contents.items():
        with atomic_write(getattr(arguments, result)) as file:
            file.write(content)
    print_account(predictions)
    return 1 if predictions.failures else 0


def _result(predictions: Predictions, names: Sequence[ClassName]) -> bytes:
    """Five classes with their scores a picture; nine digits give a float32 back exactly."""
    lines = []
    for index in sorted(predictions.classes):
        lines.append(f"top5 result in {predictions.listed[index].name}:")
        best = zip(predictions.classes[index], predictions.scores[index], strict=True)
        for place, (number, score) in enumerate(best):
            name = names[number].text if names else f"class {number}"
            lines.append(f"{place} [{name}] {score:.9g}")
    return "".join(f"{line}\n" for line in lines).encode()


def _arguments(words: Sequence[str]) -> argparse.Namespace:
    parser = command(__doc__)
    parser.add_argument("--device_id", type=_whole, default=0, help="taken for the original's sake: processors compute")
    parser.add_argument("--magicmind_model", type=Path, required=True, help="model file")
    parser.add_argument("--image_dir", type=Path, required=True, help="folder of the pictures")
    parser.add_argument("--image_num", type=_whole, default=0, help="only the first so many pictures (0: all)")
    parser.add_argument("--name_file", type=Path, help="class names, one a line")
    parser.add_argument("--label_file", type=Path, required=True, help="lines of `name label`: the pictures to take")
    for result, meaning in RESULTS.items():
        parser.add_argument(f"--{result}", type=Path, required=True, help=meaning)
    parser.add_argument("--batch_size", type=_whole, default=0, help="pictures at a time (0: what was tuned for)")
    return parser.parse_args(words)


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise argparse.ArgumentTypeError(f"expected a whole number, got {text!r}")
    return int(text)


if __name__ == "__main__":
    finish(main)
