"""The accuracy of three precisions as a table, beside the figures published for the original sample."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "utils"))

from command import command, finish

from alula.core.errors import UsageError
from alula.core.files import atomic_write
from alula.vision.names import read_lines

PUBLISHED = {  # top-1 and top-5 that the original's README gives for VOLO-D2 on the validation pictures of ILSVRC2012
    "force_float32": ("0.846022", "0.974366"),
    "force_float16": ("0.845240", "0.974540"),
    "qint8_mixed_float16": ("0.845400", "0.974560"),
}
PAPER = "VOLO's paper has 0.852 as top-1 of VOLO-D2."
SMALL_WAY = (
    "This run took the small way, volo_digits on handwritten digits; what was published is VOLO-D2 on ILSVRC2012."
)


def main(words: Sequence[str]) -> int:
    """Prints the table and writes it to eval.md."""
    parser = command(__doc__)
    parser.add_argument("--model", required=True, help="volo_d2 or volo_digits")
    parser.add_argument("--batch_size", required=True, help="of the runs")
    parser.add_argument("--language", required=True, help="infer_cpp or infer_python")
    parser.add_argument("--output_dir", type=Path, required=True, help="where the runs' folders are")
    arguments = parser.parse_args(words)
    lines = [
        "| Model | Precision | Batch_Size | TOP1 | TOP5 | Published TOP1 | Published TOP5 |",
        "|---|---|---|---|---|---|---|",
    ]
    for precision, published in PUBLISHED.items():
        folder = arguments.output_dir / f"{arguments.language}_output_{precision}_true_{arguments.batch_size}"
        shares = _shares(folder / "eval_result.txt")
        lines.append(f"| {' | '.join([arguments.model, precision, arguments.batch_size, *shares, *published])} |")
    lines += ["", PAPER if arguments.model == "volo_d2" else SMALL_WAY, ""]
    text = "\n".join(lines)
    print(text)
    with atomic_write(arguments.output_dir / "eval.md") as file:
        file.write(f"{text}\n".encode())
    return 0


def _shares(path: Path) -> list[str]:
    """Top-1 and top-5 to six digits, as compute_top1_and_top5.py wrote them."""
    found = dict(line.split(":", 1) for line in read_lines(path) if ":" in line)
    try:
        return [f"{float(found[top]):.6f}" for top in ("top1", "top5")]
    except (KeyError, ValueError) as error:
        raise UsageError(f"file {path}: expected the lines `top1:` and `top5:`, got others") from error


if __name__ == "__main__":
    finish(main)
